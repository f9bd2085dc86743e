"""What becomes of the numbers of a scenario that is deleted: free ones of the project, or given back to the carrier (R3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from router.scenarios.models import TrackingNumber


@dataclass(frozen=True)
class Fate:
    """The numbers of a scenario, by what can become of them."""

    numbers: int
    static: int
    returnable: Sequence[TrackingNumber]
    """Rented and not pinned: these can be given back."""
    pinned: int
    own: int

    @property
    def paid_until(self) -> datetime | None:
        """When the last of those is no longer paid."""
        return max((one.paid_until for one in self.returnable if one.paid_until), default=None)


def fate_of(numbers: Sequence[TrackingNumber]) -> Fate:
    rented = [one for one in numbers if not one.owned_elsewhere and not one.releasing_at]
    return Fate(
        numbers=len(numbers),
        static=sum(one.static_source is not None for one in numbers),
        returnable=[one for one in rented if not one.pinned],
        pinned=sum(one.pinned for one in rented),
        own=sum(one.owned_elsewhere for one in numbers),
    )
