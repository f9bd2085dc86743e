"""Numbers in free text, in every country: found whatever stands between and around them, and none that does not stand there."""

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from router.lib.phones import line_of, numbers_in
from tests.lib.phones.test_reading import e164, example_numbers

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
