"""What a call costs by the kind of its number: example numbers of every country, and of the codes of no country."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from router.lib.phones import Cost, cost_of, is_valid
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
