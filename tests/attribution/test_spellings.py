"""How a number may be written on a page."""

import pytest

from router.phones import spellings

CASES = [
    ("8 (495) 123-45-67", "RU", ["+74951234567", "+784951234567", "74951234567", "84951234567", "4951234567"]),
    ("+7 495 123-45-67", "", ["+74951234567", "+784951234567", "74951234567", "84951234567", "4951234567"]),
    ("(415) 555-2671", "US", ["+14155552671", "14155552671", "4155552671"]),
    ("020 7946 0958", "GB", ["+442079460958", "+4402079460958", "442079460958", "02079460958", "2079460958"]),
    ("112", "", ["112"]),
    ("1", "DE", ["1"]),
    ("no number", "DE", []),
]


@pytest.mark.parametrize(("written", "country", "found"), CASES)
def test_every_usual_spelling_of_a_number_is_known(written: str, country: str, found: list[str]) -> None:
    assert spellings([written], country) == found


def test_two_spellings_of_one_number_are_looked_for_once() -> None:
    assert spellings(["(415) 555-2671", "+1 415 555 2671"], "US") == spellings(["415 555 2671"], "US")
