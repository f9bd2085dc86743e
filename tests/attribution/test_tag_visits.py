"""What the tag asks of the server, by what it finds on a page, in its address and in the browser: tables, each in one process of node."""

import pytest

from router.attribution.tag import TagOptions
from router.attribution.tracking.schema import read_ga
from tests.attribution.tag_alone import ADDRESS, LENT, Page, visited
from tests.browser.stub import CONSENT, KEY

FRAGMENTS = {
    "#utm_source=facebook&utm_medium=cpc": True,
    "#/landing?gclid=x": True,
    "#!/landing?ScCid=x": True,
    "#?gad_source=1&gad_campaignid=2": True,
    "#part": False,
    "#/prices": False,
    "#access_token=secret&token_type=bearer&expires_in=3600": False,
    "#id_token=secret": False,
    "#_=_": False,
    "#": False,
}


def test_a_fragment_is_told_when_it_may_hold_a_campaign_and_never_when_it_holds_a_secret() -> None:
    then = ((f"{ADDRESS}#/other?gclid=y", ""), (f"{ADDRESS}prices", ""))
    pages = visited(Page(address=ADDRESS + fragment, then=then) for fragment in FRAGMENTS)
    for (fragment, is_told), page in zip(FRAGMENTS.items(), pages, strict=True):
        first, second = page.views
        assert first["page"] == ADDRESS + (fragment if is_told else ""), fragment
        assert second == {"page": f"{ADDRESS}prices", "referrer": ADDRESS, "visitor": "v1sitor"}, fragment
        assert page.numbers == [LENT], fragment


OPTIONS = {
    "as an attribute": (Page(attributes={"scenarios": "14, 13"}), [14, 13]),
    "in the address": (Page(query="?scenarios=14,13"), [14, 13]),
    "as a page variable": (Page(before="window.routerTag = {scenarios: [14, 13]}"), [14, 13]),
    "as the old variable": (Page(before="window.roistatCalltrackingScripts = [14, 13]"), [14, 13]),
    "as a text of the variable": (Page(before='routerTag = {measurement: 7, scenarios: " 14,13 "}'), [14, 13]),
    "in three places": (
        Page(before="roistatCalltrackingScripts = [7]", query="?scenarios=8", attributes={"scenarios": "9"}),
        [9],
    ),
    "no number": (Page(query="?scenarios=x", attributes={"scenarios": ""}), []),
    "nothing": (Page(attributes={"scenarios": ""}), None),
}


def test_options_come_as_attributes_in_the_address_or_as_a_page_variable() -> None:
    for (name, (_, scenarios)), page in zip(
        OPTIONS.items(), visited(page for page, _ in OPTIONS.values()), strict=True
    ):
        assert page.numbers == [LENT], name
        assert page.views[0].get("scenarios") == scenarios, name


NUMBERS = "1162820436.1749482504"
SESSION = "1795416000"
GS1, GS2 = f"GS1.1.{SESSION}.3.1.1795416100.0.0.0", f"GS2.1.s{SESSION}$o3$g1$t1795416100"
GA_COOKIES: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("", {"_ga": f"GA1.1.{NUMBERS}"}, {"client_id": NUMBERS}),
    ("", {"_ga": "GA1.2-2.11.22", "_ga_A1": GS1}, {"client_id": "11.22", "session_id": SESSION, "G-A1": SESSION}),
    ("", {"_ga": "GA1.1.11.22", "_ga_A1": GS2}, {"client_id": "11.22", "session_id": SESSION, "G-A1": SESSION}),
    ("", {"_ga_A1": f"GS2.1.t1795416100$o3$s{SESSION}"}, {"session_id": SESSION, "G-A1": SESSION}),
    ("", {"_ga_A1": f"GS2.1.t1795416100%24o3%24s{SESSION}"}, {"session_id": SESSION, "G-A1": SESSION}),
    ("", {"_ga": "GA1.1.11.22", "_ga_A1": "GS3.1.x1795416000"}, {"client_id": "11.22"}),
    ("", {"_ga": "amp-0123456789_-AbC"}, {"client_id": "amp-0123456789_-AbC"}),
    ("", {"_ga": "junk"}, {}),
    ("", {"_ga_A1": "GS2.1.s5$o1", "_ga_B2": GS2}, {"session_id": "5", "G-A1": "5", "G-B2": SESSION}),
    ("G-B2", {"_ga_A1": "GS2.1.s5$o1", "_ga_B2": GS2}, {"session_id": SESSION, "G-B2": SESSION}),
    ("G-C3", {"_ga_A1": "GS2.1.s5$o1"}, {}),
]
"""The stream that the tag is told, the cookies, and what the server reads of what the tag tells."""


def test_ga_is_read_from_its_cookies() -> None:
    pages = visited(Page(TagOptions(ga_stream=stream), cookies=cookies) for stream, cookies, _ in GA_COOKIES)
    for (stream, cookies, ga), page in zip(GA_COOKIES, pages, strict=True):
        assert read_ga(page.views[0]) == ga, (stream, cookies)
        assert page.numbers == [LENT], cookies


CHOSEN_BEFORE = [
    ("full", "limited", "limited"),
    ("full", "none", "nothing"),
    ("full", "refused", "limited"),
    ("limited", "whatever", "limited"),
    ("limited", "full", None),
    ("none", "whatever", "nothing"),
    ("none", "limited", "limited"),
    ("none", "full", None),
]


def test_r14_what_the_visitor_chose_before_counts_more_than_the_projects_mode() -> None:
    """What is no level is a refusal: no number where the project gives none, else a limited one."""
    manager = CONSENT.removeprefix("<script>").removesuffix("</script>")
    pages = visited(
        Page(TagOptions(consent=mode), before=f"{manager};routerConsent('{chosen}')")
        for mode, chosen, _ in CHOSEN_BEFORE
    )
    for (mode, chosen, expected), page in zip(CHOSEN_BEFORE, pages, strict=True):
        if expected == "nothing":
            assert (page.views, page.numbers) == ([], []), (mode, chosen)
        else:
            assert page.views[0].get("consent") == expected, (mode, chosen)
            assert page.numbers == [LENT], (mode, chosen)


PRIVACY_CONTROL = [
    (TagOptions(gpc_refuses=True), "limited"),
    (TagOptions("limited", gpc_refuses=True), "limited"),
    (TagOptions("none", gpc_refuses=True), "nothing"),
    (TagOptions(), None),
]


def test_r14_global_privacy_control_is_a_refusal_where_the_project_says_so() -> None:
    """Until the visitor himself says another thing to this site."""
    pages = visited(Page(options, privacy_control=True) for options, _ in PRIVACY_CONTROL)
    for (options, expected), page in zip(PRIVACY_CONTROL, pages, strict=True):
        if expected == "nothing":
            assert page.views == [], options
        else:
            assert page.views[0].get("consent") == expected, options
            assert page.numbers == [LENT], options
    [agreed] = visited([Page(PRIVACY_CONTROL[2][0], privacy_control=True, then=(("", "routerTag.consent('full')"),))])
    assert "consent" not in agreed.views[0]
    assert agreed.numbers == [LENT]


@pytest.mark.parametrize("level", ["full", "limited"])
def test_r14_only_full_consent_keeps_anything_in_the_browser(level: str) -> None:
    [page] = visited([Page(before=f"routerTag = {{consent: '{level}'}}")])
    name = f"router_visitor_{KEY}"
    assert page.cookies == ({name: "v1sitor"} if level == "full" else {})
    assert set(page.storage) == ({name} if level == "full" else set())


def test_junk_in_the_sites_storage_breaks_nothing() -> None:
    junk = ["", "null", "[]", "{", '[1e15, {"numbers": 7}]', '[0, {"hold": 1e9}]', '"text"']
    pages = visited(Page(storage={f"router_visitor_{KEY}": text}) for text in junk)
    for text, page in zip(junk, pages, strict=True):
        assert page.numbers == [LENT], text
        assert len(page.views) == 1, text


def test_junk_for_own_fields_breaks_nothing() -> None:
    junk = ["null", "7", "'text'", "{get plan() { throw new Error('no'); }}", "[{a: 1}]"]
    pages = visited(Page(then=(("", f"routerTag.params({value})"),)) for value in junk)
    for value, page in zip(junk, pages, strict=True):
        assert page.numbers == [LENT], value
