"""The line of HTML and the CSP sources that the install page shows."""

from router.attribution.tag import csp_lines, snippet


def test_the_snippet_is_one_line_of_html() -> None:
    assert (
        snippet("https://calls.example.net", "k3y")
        == '<script async src="https://calls.example.net/tag/k3y.js"></script>'
    )


def test_an_address_cannot_break_out_of_its_attribute() -> None:
    assert '"><b>' not in snippet('https://calls.example.net/"><b>', "k3y")


def test_a_content_security_policy_needs_our_origin_twice_and_nothing_inline() -> None:
    assert csp_lines("https://calls.example.net:8443/path") == {
        "script-src": "https://calls.example.net:8443",
        "connect-src": "https://calls.example.net:8443",
    }
