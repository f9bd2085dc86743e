"""The simulated carrier sells numbers of every country."""

import phonenumbers
import pytest

from router.carriers.simulator.account import countries, search


def test_there_are_valid_numbers_of_every_country_that_phonenumbers_knows() -> None:
    assert len(countries()) > 240
    for country in countries():
        (number, *_) = search(country, limit=2)
        parsed = phonenumbers.parse(number.e164, None)
        assert phonenumbers.is_valid_number_for_region(parsed, country), (country, number)


def test_a_search_finds_the_same_numbers_every_time() -> None:
    first = search("DE", limit=50)
    assert len({number.e164 for number in first}) == 50
    assert search("DE", limit=50) == first


@pytest.mark.parametrize(
    ("country", "digits"), [("US", "1415"), ("US", "777"), ("DE", "49301"), ("GB", "88"), ("IT", "390")]
)
def test_a_search_by_digits_finds_numbers_that_contain_them(country: str, digits: str) -> None:
    found = search(country, digits, limit=10)
    assert len(found) == 10
    assert all(digits in number.e164 for number in found)


@pytest.mark.parametrize("digits", ["0000000000000000000", "x", "999999999"])
def test_digits_that_no_number_has_find_nothing(digits: str) -> None:
    assert search("US", digits) == []


@pytest.mark.parametrize(("country", "begins"), [("US", "800"), ("DE", "800"), ("GB", "900"), ("JP", "120")])
def test_a_search_that_finds_nothing_hardly_asks_the_library(
    monkeypatch: pytest.MonkeyPatch, country: str, begins: str
) -> None:
    """Its whole check of one number takes a tenth of a millisecond, and there are thousands of candidates."""
    asked: list[str] = []
    whole_check = phonenumbers.is_valid_number_for_region

    def counted(number: phonenumbers.PhoneNumber, region: str) -> bool:
        asked.append(region)
        return whole_check(number, region)

    monkeypatch.setattr(phonenumbers, "is_valid_number_for_region", counted)
    assert search(country, begins=begins) == []
    assert len(asked) < 10


@pytest.mark.parametrize(
    ("country", "kind", "begins"), [("MX", "local", "81"), ("AR", "local", "11"), ("US", "toll-free", "800")]
)
def test_numbers_of_an_area_are_sold_also_where_they_may_be_mobile_ones(country: str, kind: str, begins: str) -> None:
    found = search(country, kind=kind, begins=begins, limit=5)
    assert len(found) == 5
    for one in found:
        number = phonenumbers.parse(one.e164, None)
        assert phonenumbers.is_valid_number_for_region(number, country)
        assert phonenumbers.national_significant_number(number).startswith(begins)


def test_mobile_and_toll_free_numbers_are_sold_where_they_exist() -> None:
    (mobile,) = search("DE", kind="mobile", limit=1)
    (free,) = search("US", kind="toll-free", limit=1)
    assert phonenumbers.number_type(phonenumbers.parse(mobile.e164)) == phonenumbers.PhoneNumberType.MOBILE
    assert phonenumbers.number_type(phonenumbers.parse(free.e164)) == phonenumbers.PhoneNumberType.TOLL_FREE
