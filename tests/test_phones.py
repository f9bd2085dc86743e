"""Phone numbers at the edge: who is withheld, how numbers are shown, and what logs may tell."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.phones import (
    BadPhone,
    country_of,
    display,
    fill_mask,
    international,
    masked,
    national,
    read_caller,
    read_destination,
    read_phone,
)

NUMBER = "+14155552671"


@pytest.mark.parametrize(
    "raw",
    [
        *("anonymous", "Anonymous", "unknown", "unavailable", "Restricted", "private", "blocked", "withheld", "", None),
        *("+266696687", "+7378742833", "+2562533", "+8656696", "+8566696", "+86282452253", "+464", "266696687"),
        *(
            "client:bob",
            "sip:anonymous@anonymous.invalid",
            "4155552671",
            "+1",
            "+",
            "\0",
            "٤١٥",
            "+1415555267100000000",
        ),
    ],
)
def test_what_is_no_valid_international_number_is_withheld(raw: str | None) -> None:
    caller = read_caller(raw)
    assert caller.withheld
    assert caller.raw == (raw or "").strip()[:100]


@pytest.mark.parametrize(
    ("raw", "e164"), [(NUMBER, NUMBER), (" +1 (415) 555-2671 ", NUMBER), ("+442079460958", "+442079460958")]
)
def test_a_valid_international_number_identifies(raw: str, e164: str) -> None:
    assert read_caller(raw).e164 == e164


@pytest.mark.parametrize(
    ("mask", "digits", "shown"),
    [
        ("##-##-##", "1234567", "123-45-67"),
        ("##-##-##", "12345", "1-23-45"),
        ("(XXX) XXX-XXXX", "2125551000", "(212) 555-1000"),
        ("call us", "2125551000", "call us"),
        ("", "1", ""),
    ],
)
def test_a_mask_is_filled_from_the_right(mask: str, digits: str, shown: str) -> None:
    assert fill_mask(mask, digits) == shown


def test_an_empty_mask_gives_the_national_form_and_a_foreign_one_the_international() -> None:
    assert display(NUMBER, "  ") == "(415) 555-2671"
    assert display(NUMBER, "+1 XXX XXX XXXX") == "+1 415 555 2671"
    assert display(NUMBER, "+49 XXXX XXXX") == "+1 415-555-2671"


@given(st.text(max_size=60), st.sampled_from([NUMBER, "+442079460958", "+493012345678"]))
def test_no_mask_breaks_a_page_or_loses_a_digit(mask: str, e164: str) -> None:
    shown = display(e164, mask)
    if re.search("[X#]", mask) and not mask.strip().startswith("+"):
        kept = re.sub("[^0-9]", "", shown)
        assert len(kept) >= min(len(re.findall("[X#]", mask)), 1)


@given(st.text(max_size=120))
def test_nothing_that_somebody_types_breaks_the_reading_of_numbers(text: str) -> None:
    assert read_caller(text).raw == text.strip()[:100]
    masked(text)
    country_of(text)
    assert national(text) or not text
    assert international(text) or not text
    for read in (read_phone, read_destination):
        with contextlib.suppress(BadPhone):
            assert read(text)


@pytest.mark.parametrize(
    "text",
    [
        *("+14155552671", "call from +14155552671 to +442079460958", "From=4155552671", "tel:+1 (415) 555-2671"),
        *("https://x.example/?to=%2B14155552671", "{'caller': '+14155552671'}", "14155552671"),
    ],
)
def test_a_log_line_tells_no_phone_number(text: str) -> None:
    shown = masked(text)
    assert not re.search("5552671|79460958|555-2671", shown), shown


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-23T12:00:00+00:00", "2026-11-23", "CA0123456789abcdef0123456789abcdef", "CA12345678901234567890"),
        *("visit 10001", "call 123456789", "10.0.0.1:8080", "550e8400-e29b-41d4-a716-446655440000", "+5 %", "12:30:45"),
    ],
)
def test_dates_and_ids_stay_in_a_log_line(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("sip", ["sip:sales@pbx.example.com", "sips:a.b+c@10.0.0.1:5061;transport=tls"])
def test_a_sip_address_stays_as_it_is(sip: str) -> None:
    assert read_destination(sip) == sip


@pytest.mark.parametrize(
    "sip", ["sip:", "sip:@x", "sip:a@b c", "sip:a@b\r\nX: y", "sip:a@-", 'sip:a@b"><x', "sip:a@b?x=1"]
)
def test_what_is_no_sip_address_is_refused(sip: str) -> None:
    with pytest.raises(BadPhone):
        read_destination(sip)
