"""Phone numbers at the edge: who is withheld, how numbers are shown, and what logs may tell."""

import contextlib
import re
from random import Random

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.lib.phones import (
    BadPhone,
    country_of,
    display,
    fill_mask,
    international,
    is_foreign_to,
    masked,
    national,
    read_caller,
    read_destination,
    read_phone,
)
from tests.lib.phones.dialling import REGIONS, numbers_of, reached
from tests.properties import examples

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
def test_r1_a_mask_is_filled_from_the_right(mask: str, digits: str, shown: str) -> None:
    assert fill_mask(mask, digits) == shown


def test_r1_an_empty_mask_gives_the_national_form_and_a_foreign_one_the_international() -> None:
    assert display(NUMBER, "  ") == "(415) 555-2671"
    assert display(NUMBER, "+1 XXX XXX XXXX") == "+1 415 555 2671"
    assert display(NUMBER, "+49 XXXX XXXX") == "+1 415-555-2671"


MOSCOW, BERLIN, LONDON, MEXICO = "+74951234567", "+493012345678", "+442079460958", "+525512345678"


@pytest.mark.parametrize(
    ("e164", "mask", "shown"),
    [
        (MOSCOW, "8 (XXX) XXX-XX-XX", "8 (495) 123-45-67"),
        (MOSCOW, "+7 (###) ###-##-##", "+7 (495) 123-45-67"),
        (NUMBER, "(XXX) XXX-XXXX", "(415) 555-2671"),
        (BERLIN, "0XX XXXXXXXX", "030 12345678"),
        (BERLIN, "0049 XX XXXXXXXX", "0049 30 12345678"),
        (LONDON, "+44 (0) XX XXXX XXXX", "+44 (0) 20 7946 0958"),
        (MOSCOW, "+7 (495) XXX-XX-XX", "+7 (495) 123-45-67"),
        (MOSCOW, "(495) XXX-XX-XX", "(495) 123-45-67"),
        (MOSCOW, "XXX-XX-XX", "495123-45-67"),
        ("+77272501234", "+7 (XXX) XXX-XX-XX", "+7 (727) 250-12-34"),
        (LONDON, "(XXX) XXX-XXXX", "(207) 946-0958"),
    ],
)
def test_r1_a_mask_whose_own_digits_are_the_numbers_is_filled(e164: str, mask: str, shown: str) -> None:
    assert display(e164, mask) == shown


@pytest.mark.parametrize(
    ("e164", "mask"),
    [
        (NUMBER, "8 (XXX) XXX-XX-XX"),
        (BERLIN, "8 (XXX) XXX-XX-XX"),
        (LONDON, "+7 (###) ###-##-##"),
        (MEXICO, "+1 XXX XXX XXXX"),
        (MOSCOW, "+7 (812) XXX-XX-XX"),
        (MOSCOW, "+8 (XXX) XXX-XX-XX"),
        (NUMBER, "Call 24/7: XXX-XXX-XXXX"),
    ],
)
def test_r1_a_number_of_another_country_than_the_masks_is_shown_in_the_international_form(e164: str, mask: str) -> None:
    assert display(e164, mask) == international(e164)


@pytest.mark.parametrize(
    ("e164", "mask", "country"),
    [
        (BERLIN, "+49 0XX XXXXXXXX", "DE"),  # a trunk prefix behind the country code
        (BERLIN, "+490XX XXXXXXXX", None),
        (BERLIN, "0XX XXXXXXXX", "AT"),  # the national form, abroad
        (LONDON, "(XXX) XXX-XXXX", "US"),
        (BERLIN, "XX XXXXXXXX0", "DE"),  # a digit more
        (BERLIN, "XX XXXXXXXX+0", "DE"),
        (BERLIN, "0XX XXXXXXXX 24/7", "DE"),
        (NUMBER, "XXX-0XXX-XXXX", "US"),
        ("+80012345678", "0XXX XXXXXXXX", "DE"),
    ],
)
def test_r1_a_mask_that_nobody_could_dial_gives_the_international_form(
    e164: str, mask: str, country: str | None
) -> None:
    assert display(e164, mask, country) == international(e164)
    assert is_foreign_to(mask, e164, country)


@pytest.mark.parametrize(
    ("e164", "mask", "country", "shown"),
    [
        (BERLIN, "0XX / XX XX XX XX", "DE", "030 / 12 34 56 78"),
        (BERLIN, "+49 (0)XX XXXXXXXX", "DE", "+49 (0)30 12345678"),
        (BERLIN, "0049 XX XXXXXXXX", "AT", "0049 30 12345678"),
        (BERLIN, "011 49 XX XXXXXXXX", "US", "011 49 30 12345678"),
        (BERLIN, "+49 XX XXXXXXXX", "FR", "+49 30 12345678"),
        (BERLIN, "0XX XXXXXXXX (24/7)", "DE", "030 12345678 (24/7)"),
        (BERLIN, "0XX XXXXXXXX, Mo-Fr 9-18", "DE", "030 12345678, Mo-Fr 9-18"),
        (NUMBER, "(XXX) XXX-XXXX", "CA", "(415) 555-2671"),
        (MOSCOW, "8 (XXX) XXX-XX-XX", "KZ", "8 (495) 123-45-67"),
        (BERLIN, "", "DE", "030 12345678"),
        (BERLIN, "", "", "030 12345678"),
        (BERLIN, "", "AT", "+49 30 12345678"),
        (NUMBER, "", "CA", "(415) 555-2671"),
        ("+80012345678", "", "", "+800 1234 5678"),
    ],
)
def test_r1_a_number_is_shown_as_the_projects_country_dials_it(e164: str, mask: str, country: str, shown: str) -> None:
    assert display(e164, mask, country) == shown


masks = st.text("X#X#+78 01()-.", max_size=25) | st.text(max_size=60)
digit_masks = st.text("X#XX#+490 ()/-.", max_size=25).map(lambda text: f"{text}X")


@given(digit_masks, st.sampled_from(REGIONS), st.sampled_from(REGIONS), st.randoms(use_true_random=False))
@settings(max_examples=examples(300))
def test_r1_what_a_mask_shows_reaches_the_number(mask: str, region: str, country: str, chance: Random) -> None:
    """Dialled in the project's country, or from abroad."""
    e164 = chance.choice(numbers_of(region, chance, 2))
    for home in (region, country):
        assert e164 in reached(display(e164, mask, home), home)


@given(masks, st.sampled_from([NUMBER, LONDON, BERLIN, MOSCOW, MEXICO, "+3725123456", "+390612345678"]))
def test_r1_no_mask_breaks_a_page_or_loses_a_digit_of_the_number(mask: str, e164: str) -> None:
    digits = phonenumbers.national_significant_number(phonenumbers.parse(e164))
    shown = iter(re.sub("[^0-9]", "", display(e164, mask)))
    assert all(digit in shown for digit in digits), "its national digits are there, in their order"


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
        *(
            "dialled=sip:14155552671@trunk.example.com",
            "SIPS:4155552671@x",
            "tel:415-555-2671",
            "sip:+14155552671@x:5061",
        ),
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
