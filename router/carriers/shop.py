"""Renting numbers from a carrier: what its REST side offers to the floors above, and how a request may end (facts on Twilio, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CarrierPrice:
    """What the carrier itself asks, as it says it: a decimal amount, its currency and the time that it is for (`month`)."""

    amount: str
    currency: str
    period: str = "month"


@dataclass(frozen=True, slots=True)
class Offer:
    """A number that the carrier would sell. `kind`: local, mobile or toll-free."""

    e164: str
    country: str
    kind: str
    place: str = ""
    price: CarrierPrice | None = None


@dataclass(frozen=True, slots=True)
class Owned:
    """A number of our account. `label` is what we gave it when we bought it."""

    e164: str
    sid: str
    label: str


class ShopError(Exception):
    """The carrier did not do what was asked; the message is for people. Each kind says what may be done next."""


class Gone(ShopError):
    """The number is not for sale: somebody has it, maybe we. Look among the owned ones, else take another."""


class NotForUs(ShopError):
    """The carrier refuses for good (an address or a document is missing, the account may not, the key is wrong): an operator has to act."""


class TryLater(ShopError):
    """Nothing was done (too many requests, nobody reached): asking again is safe, after `seconds` if the carrier said so."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class OutcomeUnknown(ShopError):
    """No answer, a server's error or nonsense after something was sent: it may be done or not. Look before asking again."""


class NumberShop(Protocol):
    """The REST side of a carrier. Every call is one HTTP request or a few, each limited in time; none may be made inside a
    transaction. All raise ShopErrors and nothing else."""

    def countries(self) -> Sequence[str]:
        """Two-letter codes of the countries in which numbers can be searched."""

    def search(self, country: str, area_code: str = "", contains: str = "", limit: int = 20) -> list[Offer]:
        """Numbers for sale, each with the carrier's price if it tells it.

        Args:
            area_code: national digits with which it begins.
            contains: digits that stand somewhere in it.
        """

    def price(self, country: str) -> CarrierPrice | None:
        """What a local number of this country costs at the carrier; None when it does not say."""

    def buy(self, e164: str, label: str) -> Owned:
        """Buys exactly this number, with all its voice addresses set to this server.

        Raises:
            Gone, NotForUs, TryLater: not bought.
            OutcomeUnknown: maybe bought.
        """

    def find(self, e164: str) -> Owned | None:
        """The number if our account owns it; compared exactly."""

    def owned(self) -> list[Owned]:
        """All numbers of our account."""

    def configure(self, sid: str) -> None:
        """Points the voice addresses of a number of ours to this server (again)."""

    def release(self, sid: str) -> None:
        """Gives a number back; one that is not ours any more is released already."""
