"""Reading numbers: what holds for every number of every country, and for every text; and numbers in free text, found whatever stands
between and around them."""

import re

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from router.lib.phones import (
    AmbiguousPhone,
    is_withheld,
    line_of,
    numbers_in,
    read_caller,
    read_dialled,
    read_phone,
    readings_of,
)
from tests.properties import examples

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = [PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.TOLL_FREE, PhoneNumberType.VOIP]
EXAMPLES = [
    (region, number)
    for region in REGIONS
    for kind in KINDS
    if (number := phonenumbers.example_number_for_type(region, kind)) and phonenumbers.is_valid_number(number)
]
example_numbers = st.sampled_from(EXAMPLES)


def e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def test_every_region_has_examples() -> None:
    assert {region for region, _ in EXAMPLES} == set(REGIONS)


@pytest.mark.parametrize("form", [PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966])
@given(example_numbers)
def test_a_number_with_a_plus_is_itself_for_everybody(form: int, example: tuple[str, phonenumbers.PhoneNumber]) -> None:
    number = example[1]
    written = phonenumbers.format_number(number, form)
    for country in ("DE", "US", None):
        assert read_phone(written, country) == e164(number)
        assert read_caller(written, country).e164 == e164(number)
        assert e164(number) in read_dialled(written, country)


@given(example_numbers)
def test_the_national_form_at_home_is_the_number_or_is_asked_for(example: tuple[str, phonenumbers.PhoneNumber]) -> None:
    region, number = example
    written = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    assert e164(number) in readings_of(written, region)


@settings(max_examples=examples(500))
@given(example_numbers, st.sampled_from(REGIONS))
def test_digits_without_a_plus_are_never_taken_for_another_number_where_they_are_valid(
    example: tuple[str, phonenumbers.PhoneNumber], country: str
) -> None:
    number = e164(example[1])
    readings = readings_of(number.removeprefix("+"), country)
    trunk = phonenumbers.ndd_prefix_for_region(country, True) or ""
    assert number in readings or number.startswith(f"+{trunk}"), "or the country's trunk prefix made it national"
    if len(readings) > 1:
        with pytest.raises(AmbiguousPhone):
            read_phone(number.removeprefix("+"), country)


@given(example_numbers)
def test_digits_without_a_plus_reach_the_dialled_number(example: tuple[str, phonenumbers.PhoneNumber]) -> None:
    region, number = example
    assert e164(number) in read_dialled(e164(number).removeprefix("+"))
    assert e164(number) in read_dialled(f"sip:{e164(number)}@trunk.example.com:5060;transport=udp")
    national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    assert e164(number) in read_dialled(national, region)


@given(st.integers(min_value=1_000_000, max_value=999_999_999_999_999))
def test_every_e164_shaped_caller_is_identified_or_a_keypad_code(digits: int) -> None:
    raw = f"+{digits}"
    caller = read_caller(raw)
    assert caller.e164 is not None or is_withheld(raw)
    assert caller.raw == raw


@given(
    st.text(max_size=200) | st.text("+0123456789 ()/-.sip:@<>;", max_size=60), st.sampled_from([*REGIONS, None, "XX"])
)
def test_no_text_breaks_the_reading_and_what_is_read_is_e164(text: str, country: str | None) -> None:
    for read in (*readings_of(text, country), *numbers_in(text, country), *read_dialled(text, country)):
        assert re.fullmatch(r"\+[0-9]{3,17}", read)
    caller = read_caller(text, country)
    assert caller.e164 is None or 8 <= len(caller.e164) <= 16
    is_withheld(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            None,
            "  ",
            "-",
            "—",
            "<unknown>",
            "“Unknown”",
            "ANONYMOUS",
            "Anonymous Caller",
            "[Blocked]",
            "n/a",
            "No  Caller\tID",
        ),
        *(
            "Unbekannt",
            "unterdrückt",
            "Rufnummer unterdrückt",
            "Numéro masqué",
            "Número oculto",
            "Numero privato",
            "Anoniem",
        ),
        *("Номер скрыт", "номер не определён", "Numer zastrzeżony", "Gizli numara", "Okänt nummer"),
        *(
            "266696687",
            "+266696687",
            "+1266696687",
            "7378742833",
            "+8656696",
            "8566696",
            "+86282452253",
            "464",
            "+464",
            "0",
            "+0000000",
        ),
    ],
)
def test_words_and_keypad_codes_are_withheld(text: str | None) -> None:
    assert is_withheld(text)
    assert read_caller(text).withheld


@pytest.mark.parametrize(
    "text", ["+4915112345678", "Herr Unbekannter", "Private Wealth Ltd", "100", "4155552671", "+7378742834"]
)
def test_other_texts_are_not(text: str) -> None:
    assert not is_withheld(text)


def test_an_ambiguous_number_names_both_readings_and_what_to_do() -> None:
    with pytest.raises(AmbiguousPhone) as asked:
        read_phone("436641234567", "DE")
    assert asked.value.readings == ("+49436641234567", "+436641234567")
    assert "+43 664 1234567" in str(asked.value)
    assert "Write it with +" in str(asked.value)


def test_a_long_text_costs_little() -> None:
    assert numbers_in("1/" * 50_000, "DE") == []
    assert numbers_in(" / ".join(["030 7654321"] * 500), "DE") == ["+49307654321"]


FORMS = [PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL]
Example = tuple[str, phonenumbers.PhoneNumber]


def lines_in(text: str, country: str) -> set[str]:
    return {line_of(number) for number in numbers_in(text, country)}


@given(
    example_numbers,
    st.sampled_from(FORMS),
    st.sampled_from([" ", "\u00a0", "\u202f", "-", "–", ".", "·", "_", " - ", "’"]),
    st.sampled_from(
        ["{}", "Tel. {} abends", "{} (Herr Meier)", "Mobil: {}", "{}, Frau Kern", "\u202a{}\u202c", "{}\nzu Hause"]
    ),
)
def test_a_number_is_found_whatever_separates_its_digits_and_stands_around_it(
    example: Example, form: int, separator: str, around: str
) -> None:
    region, number = example
    written = phonenumbers.format_number(number, form).replace(" ", separator)
    assert line_of(e164(number)) in lines_in(around.format(written), region)


@given(
    example_numbers,
    st.sampled_from(FORMS),
    st.sampled_from(["{0}", "{0} (Herr Meier)", "Tel. {0} abends", "{0} / {0}"]),
)
def test_no_other_number_is_read_than_the_one_that_stands_there(example: Example, form: int, around: str) -> None:
    region, number = example
    assert lines_in(around.format(phonenumbers.format_number(number, form)), region) == {line_of(e164(number))}


@given(
    example_numbers,
    example_numbers,
    st.sampled_from(FORMS),
    st.sampled_from([" / ", "/", ", ", "; ", " | ", "\n", " oder ", " (", ": "]),
)
def test_both_of_two_numbers_are_found(one: Example, other: Example, form: int, between: str) -> None:
    """The second is international, so that it does not matter that it may be another country's."""
    first = phonenumbers.format_number(one[1], form)
    second = phonenumbers.format_number(other[1], PhoneNumberFormat.INTERNATIONAL)
    assert {line_of(e164(one[1])), line_of(e164(other[1]))} <= lines_in(f"{first}{between}{second}", one[0])


@pytest.mark.parametrize(
    ("text", "country", "not_there"),
    [
        ("+45 22 33 44 55", "NO", "+4722334455"),
        ("+43 0664 1234567", "DE", "+496641234567"),
        ("+43 30 7664398", "DE", "+49307664398"),
        ("+43 / 30 7664398", "DE", "+49307664398"),
        ("+43 (30) 7664398", "DE", "+49307664398"),
        ("0043 30 7664398", "DE", "+49307664398"),
        ("+43 030 7664398", "DE", "+49307664398"),
        ("+43-030/7664398", "DE", "+49307664398"),
        ("30 7664398", "US", "+49307664398"),
        ("030 7664398 (9-17 Uhr)", "DE", "+49307664398917"),
    ],
)
def test_a_part_of_a_number_is_no_number(text: str, country: str, not_there: str) -> None:
    assert not_there not in numbers_in(text, country)


@pytest.mark.parametrize(
    "text", ["0 " * 500, "+1" * 500, "0151 1/" * 140, "9" * 1000, "(0) " * 250, "1-" * 500, "1:" * 500]
)
def test_a_hostile_text_is_read_in_a_moment(text: str) -> None:
    assert len(numbers_in(text, "DE")) < 20
