"""What is typed in about a project."""

from typing import Any

import pytest

from router.accounts.projects import ProjectValues, parse_email
from router.web.api import parse
from router.web.errors import Problem
from tests.people import PROJECT_VALUES


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "), ("name", "x" * 121), ("name", 7), ("site", "no_host!"), ("site", []), ("site", [1]), ("site", {}),
        ("country", "XX"), ("country", 1), ("timezone", "Berlin"), ("timezone", ""), ("timezone", "../etc/passwd"),
        ("currency", "EURO"), ("currency", None), ("email", "office"), ("email", "a@b"), ("email", ["a@b.de"]),
        ("fallback_destination", "12"), ("fallback_destination", 5), ("fallback_destination", "sip:"), ("colour", "red"),
        ("visit_gap_seconds", 0), ("visit_gap_seconds", "soon"), ("source_days", -1), ("source_days", 366), ("source_days", "ever"),
        ("id", 9), ("repeat_credit", "never"), ("repeat_credit", 1),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(Problem) as refusal:
        parse(ProjectValues, PROJECT_VALUES | {field: value})
    assert (refusal.value.status, refusal.value.field) == (422, field)


@pytest.mark.parametrize(
    ("country", "typed", "destination"),
    [
        ("de", "030 901820", "+4930901820"),
        ("", "+1 (415) 555-2671", "+14155552671"),
        ("US", " sip:sales@pbx.example.com ", "sip:sales@pbx.example.com"),
    ],
)
def test_a_national_number_is_read_with_the_country(country: str, typed: str, destination: str) -> None:
    values = parse(ProjectValues, PROJECT_VALUES | {"country": country, "fallback_destination": typed})
    assert (values.country, values.fallback_destination) == (country.upper(), destination)


@pytest.mark.parametrize(
    ("typed", "email"),
    [
        (" Alice@Example.COM ", "alice@example.com"),
        ("o'brien+calls@mail.shop.example", "o'brien+calls@mail.shop.example"),
        ("büro@example.de", "büro@example.de"),
        ("office@firm.local", "office@firm.local"),
        ("office@firm.test", "office@firm.test"),
        ("office@xn--bcher-kva.de", "office@xn--bcher-kva.de"),
        ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),
    ],
)
def test_an_email_address_is_kept_in_small_letters(typed: str, email: str) -> None:
    assert parse_email(typed) == email


@pytest.mark.parametrize(
    "typed",
    [
        "", "office", "office@", "@example.com", "a@b", "a@b@example.com", "a b@example.com", "a@-example.com", "a@example-.com",
        "a@example..com", "a..b@example.com", "a@bücher.de", "a@ex_ample.com", "a@[10.0.0.1]", "Alice <alice@example.com>",
        '"a b"@example.com', "a,b@example.com", "a@example.com\0", "a@example.com\nBcc: b@example.com", "x" * 65 + "@example.com",
        "a@" + "x" * 64 + ".com", "a@" + "x.yz" * 63 + ".com",
    ],
)  # fmt: skip
def test_what_is_no_email_address_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="is not an e-mail address"):
        parse_email(typed)
