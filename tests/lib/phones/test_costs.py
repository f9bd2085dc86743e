"""What a call costs by the kind of its number: example numbers of every country, and of the codes of no country."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from router.lib.phones import Cost, cost_of, cost_warning, country_refusal, is_valid
from tests.properties import examples

EXPECTED = {
    PhoneNumberType.FIXED_LINE: Cost.ORDINARY,
    PhoneNumberType.MOBILE: Cost.ORDINARY,
    PhoneNumberType.TOLL_FREE: Cost.ORDINARY,
    PhoneNumberType.VOIP: Cost.ORDINARY,
    PhoneNumberType.UAN: Cost.ORDINARY,
    PhoneNumberType.PREMIUM_RATE: Cost.PREMIUM,
    PhoneNumberType.SHARED_COST: Cost.SHARED,
    PhoneNumberType.PERSONAL_NUMBER: Cost.PERSONAL,
}
CODES_OF_NO_COUNTRY = ("+808", "+870", "+878", "+881", "+882", "+883", "+979")


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_each_kind_of_number_of_a_country_has_its_kind_of_cost(region: str) -> None:
    shown = {kind: phonenumbers.example_number_for_type(region, kind) for kind in EXPECTED}
    named = {
        kind: phonenumbers.format_number(number, PhoneNumberFormat.E164) for kind, number in shown.items() if number
    }
    assert {kind: cost_of(e164) for kind, e164 in named.items()} == {kind: EXPECTED[kind] for kind in named}
    assert cost_of(named[PhoneNumberType.FIXED_LINE]) is Cost.ORDINARY


def test_the_codes_of_no_country_are_all_known() -> None:
    found = {
        code: cost_of(phonenumbers.format_number(number, PhoneNumberFormat.E164))
        for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS
        if (number := phonenumbers.example_number_for_non_geo_entity(code))
    }
    assert found == {
        800: Cost.ORDINARY,
        808: Cost.SHARED,
        870: Cost.SATELLITE,
        878: Cost.PERSONAL,
        881: Cost.SATELLITE,
        882: Cost.SATELLITE,
        883: Cost.SATELLITE,
        888: Cost.ORDINARY,
        979: Cost.PREMIUM,
    }


@settings(max_examples=examples(400))
@given(st.text(max_size=30) | st.from_regex(r"\+[0-9]{1,16}|sips?:[+0-9a-z]+@[a-z.]+", fullmatch=True))
def test_any_text_has_a_cost_and_what_no_plan_knows_is_not_taken_for_dear(text: str) -> None:
    cost = cost_of(text)
    assert is_valid(text) or not cost.is_extra or text.startswith(CODES_OF_NO_COUNTRY)
    assert not text.startswith("sip") or cost is Cost.UNKNOWN


PREMIUM = "+19002345678"


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        (PREMIUM, "+1 900-234-5678 is a premium-rate number: "),
        ("+491805123456", "a shared-cost number: "),
        ("+881612345678", "a satellite telephone"),
        ("+447012345678", "a personal number: "),
    ],
)
def test_a_warning_says_which_number_it_is_and_why_it_costs_more(destination: str, words: str) -> None:
    warning = cost_warning(destination)
    assert warning is not None
    assert words in warning
    assert warning.endswith(".")


@pytest.mark.parametrize(
    "destination", ["+14155550123", "+18005551234", f"sip:{PREMIUM}@pbx.example.com", "", "+12425551234"]
)
def test_nothing_is_said_of_ordinary_lines_of_sip_addresses_and_of_what_nobody_knows(destination: str) -> None:
    assert cost_warning(destination) is None


@pytest.mark.parametrize(
    ("destination", "countries", "words"),
    [
        ("+4930901820", (), None),
        ("+4930901820", ("US", "DE"), None),
        ("+4930901820", ("US", "CA", "GB"), "Germany. Calls may be forwarded to Canada, United Kingdom and United States only."),
        ("+12423456789", ("US",), "Bahamas. Calls may be forwarded to United States only. The operator of this server can allow others."),
        ("+447700300123", ("GB",), "Jersey"),
        ("+881612345678", ("US",), "no country"),
        ("+12425551234", ("US",), "Bahamas"),
        ("sip:+4930901820@pbx.example.com", ("US",), None),
        ("", ("US",), None),
    ],
)  # fmt: skip
def test_numbers_of_other_countries_than_the_operators_are_refused(
    destination: str, countries: tuple[str, ...], words: str | None
) -> None:
    refusal = country_refusal(destination, countries)
    assert (refusal is None) == (words is None)
    assert words is None or words in (refusal or "")
