"""Numbers on pages, the server's side: which text can be one, and ours in its place."""

import random
import re

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.lib.phones import display, forms, page_rules
from router.lib.phones.page import Form
from tests.lib.phones.dialling import REGIONS, numbers_of, reached, ways_to_write
from tests.properties import examples

BERLIN = "+493090182011"


def in_form_of(text: str, written: list[Form]) -> str | None:
    """As the tag does it (format.js)."""
    two_lines = re.sub("[^+0-9]", "", text) + "\n" + re.sub(r"[^+0-9()\[\]]", "", text)
    for pattern, shown, *_ in written:
        if found := re.fullmatch(pattern, two_lines):
            digits, places = re.sub("[^0-9]", "", shown), len(re.sub("[^0-9]", "", text))
            kept = found.lastindex and found[1] and len(digits) == places
            return re.sub("[0-9]", "{}", text).format(*digits) if kept else shown
    return None


@given(st.sampled_from(REGIONS), st.randoms(use_true_random=False))
@settings(max_examples=examples(150))
def test_r1_what_stands_in_the_place_of_a_number_reaches_ours(region: str, chance: random.Random) -> None:
    """In every country, whatever the lengths of its numbers, and with both from abroad."""
    known = numbers_of(region, chance, tries=4)
    ours, other = chance.choice(known), chance.choice(known)
    for text in ways_to_write(other, region, chance):
        shown = in_form_of(text, forms(ours, region))
        assert shown is None or ours in reached(shown, region), (text, shown, ours)


@given(st.sampled_from(REGIONS), st.sampled_from(REGIONS), st.randoms(use_true_random=False))
@settings(max_examples=examples(100))
def test_r1_in_the_place_of_a_national_number_one_from_abroad_keeps_its_country_code(
    home: str, abroad: str, chance: random.Random
) -> None:
    """Only in the place of a number of its own country, which is dialled there, it has the form of that country."""
    if phonenumbers.country_code_for_region(home) == phonenumbers.country_code_for_region(abroad):
        return
    ours, written = chance.choice(numbers_of(abroad, chance, 2)), numbers_of(home, chance, 2)
    for text in ways_to_write(chance.choice(written), home, chance):
        shown = in_form_of(text, forms(ours, home))
        assert shown is None or ours in reached(shown, home), (text, shown, ours)
    for text in ways_to_write(chance.choice(numbers_of(abroad, chance, 2)), abroad, chance):
        shown = in_form_of(text, forms(ours, home))
        assert shown is None or ours in reached(shown, home) | reached(shown, abroad), (text, shown, ours)


@pytest.mark.parametrize("region", REGIONS)
def test_r1_a_number_is_found_however_its_country_writes_it(region: str) -> None:
    """As phonenumbers formats it, in both forms; five digits and fewer only behind a country code."""
    chance = random.Random(region)
    ours, *others = numbers_of(region, chance, 2) * 2
    written = forms(ours, region)
    for other in others:
        number = phonenumbers.parse(other)
        for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL):
            text = phonenumbers.format_number(number, form)
            short = len(re.sub("[^0-9]", "", text)) < 6
            assert short or in_form_of(text, written), text


FORMS = [
    ("+49 (0)711 123456", "+49 (0)30 90182011"),
    ("+49 [0] 711 / 12 34 56", "+49 (0)30 90182011"),
    ("(+49) (0)711 123456", "+49 (0)30 90182011"),
    ("+49 (0711) 123456", "+49 30 90182011"),
    ("+49 0711 123456", "+49 30 90182011"),
    ("+49 711 12345678", "+49 30 90182011"),
    ("+49 711 1234567", "+49 309 0182011"),
    ("+49 30/1234 56 78", "+49 30/9018 20 11"),
    ("+43 1 2345678", "+49 30 90182011"),
    ("0049 (0)711 123456", "0049 (0)30 90182011"),
    ("0049 711 123456", "0049 30 90182011"),
    ("00 49 30 12345678", "00 49 30 90182011"),
    ("011 49 711 123456", "011 49 30 90182011"),
    ("49 711 98765", "+49 30 90182011"),
    ("0711 / 123456", "030 90182011"),
    ("030/12 34 56 78", "030/90 18 20 11"),
    ("(030) 12345678", "(030) 90182011"),
    ("(0711) 1234567", "030 90182011"),
    ("711 123456", "30 90182011"),
    ("12 34 56", "030 90182011"),
    ("000 000 0000", "030 90182011"),
    ("01067", None),
    ("12345", None),
]


@pytest.mark.parametrize(("text", "shown"), FORMS)
def test_r1_the_digits_of_a_number_say_in_which_form_ours_stands_there(text: str, shown: str | None) -> None:
    assert in_form_of(text, forms(BERLIN, "DE")) == shown
    assert in_form_of(text, forms(BERLIN, None)) == shown


def test_r1_a_format_counts_in_the_place_of_every_number() -> None:
    mask = "0XX / XX XX XX XX"
    shown = {in_form_of(text, forms(BERLIN, "DE", mask)) for text, other in FORMS if other}
    assert shown == {display(BERLIN, mask, "DE")} == {"030 / 90 18 20 11"}


@given(st.text("+0123456789()[] -/", max_size=25))
def test_r1_whatever_digits_a_text_has_ours_is_whole_or_absent(text: str) -> None:
    shown = in_form_of(text, forms(BERLIN, "DE"))
    assert shown is None or re.sub("[^0-9]", "", shown).endswith("3090182011")


@pytest.mark.parametrize("region", REGIONS)
def test_patterns_have_one_group_at_most_and_answers_stay_small(region: str) -> None:
    example = phonenumbers.format_number(
        phonenumbers.example_number(region) or phonenumbers.PhoneNumber(), phonenumbers.PhoneNumberFormat.E164
    )
    written = forms(example, region)
    assert all(re.compile(pattern).groups <= 1 for pattern, *_ in written)
    assert sum(len(text) for form in written for text in form) < 1500
    assert sum(map(len, page_rules(region).values())) < 5000


@pytest.mark.parametrize("e164", ["+80012345678", "+88213300655", "+9991234567"])
def test_a_number_of_no_country_is_shown_in_the_international_form_only(e164: str) -> None:
    for text in ("0711 123456", "711 123456", "+49 711 123456"):
        assert (in_form_of(text, forms(e164, "DE")) or "+").startswith("+")
        assert display(e164, "", "DE").startswith("+")
        assert display(e164, "").startswith("+")
