"""Countries are named as people name them."""

import phonenumbers

from router.lib.formats import country_name, named_countries


def test_countries_have_names_and_stand_in_their_order() -> None:
    named = named_countries()
    assert ("US", "United States") in named
    assert {code for code, _ in named} == phonenumbers.SUPPORTED_REGIONS
    assert [name for _, name in named] == sorted(name for _, name in named)
    assert named_countries(["US", "DE"])[0] == ("DE", "Germany")


def test_a_code_that_nobody_named_stays() -> None:
    assert country_name("XX") == "XX"


def test_countries_are_called_what_people_call_them() -> None:
    names = [country_name(code) for code in ("GB", "KR", "CD", "CZ", "AC")]
    assert names == ["United Kingdom", "South Korea", "Congo - Kinshasa", "Czechia", "Ascension Island"]
