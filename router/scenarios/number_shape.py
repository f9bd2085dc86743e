"""What programs send about numbers: to search, buy and change them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from router.accounts.api_habits import GREATEST_LIMIT
from router.phones import BadPhone, read_phone
from router.scenarios.shape import Digits, ExactShape, StrictShape
from router.web import GREATEST_ID, Problem


def _country(text: str) -> str:
    if not (len(text) == 2 and text.isascii() and text.isalpha()):
        raise ValueError("Write the country's two letters, like US.")
    return text.upper()


def _limit(limit: int) -> int:
    if not 1 <= limit <= GREATEST_LIMIT:
        raise ValueError(f"“limit” is a number from 1 to {GREATEST_LIMIT}.")
    return limit


class SearchShape(StrictShape):
    """`area_code`: national digits with which the number begins; `contains`: digits that stand somewhere in it."""

    country: Annotated[str, AfterValidator(_country)]
    area_code: Digits = ""
    contains: Digits = ""
    limit: Annotated[int, AfterValidator(_limit)] = 20


class BuyShape(StrictShape):
    """The number as the search gave it, and where it goes; without a scenario to the project's free ones."""

    e164: Annotated[str, Field(max_length=60)]
    scenario: Annotated[int, Field(ge=1, le=GREATEST_ID)] | None = None


class NumberPatch(ExactShape):
    """Only what changes. `scenario`: null takes the number out of its scenario."""

    pinned: bool = False
    scenario: Annotated[int, Field(ge=1, le=GREATEST_ID)] | None = None


def read_e164(text: str, country: str) -> str:
    """
    Raises:
        Problem: 422, it is no phone number.
    """
    try:
        return read_phone(text, country)
    except BadPhone as error:
        raise Problem(422, str(error), "e164") from None


def e164_of_address(text: str) -> str:
    """A number as it stands in an address: the plus sign may be missing."""
    try:
        return read_phone("+" + text.lstrip("+ "))
    except BadPhone:
        raise Problem(404, "There is no such number.") from None
