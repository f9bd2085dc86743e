"""One row of the table: what fails, and what may be expected of calls meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass

from faults.site import Site

SECONDS = 1.0
"""The longest that a caller waits for a document."""
MORE_IF_UNKNOWN = 0.5
"""For a number that the snapshot lacks."""
SECONDS_OF_KILLED = 5.0
"""Over all the carrier's tries, where processes are killed."""
SETTLED_AFTER = 75.0


def nothing(site: Site) -> None:
    """The server is as it is everywhere."""


@dataclass(frozen=True)
class Fault:
    """`strike` begins when calls come in already, and returns when the fault is over; `prepare` comes before the server is
    started, `begin` when it runs and before the first call.

    Attributes:
        name: for ONLY=name.
        embedded: with SQLite instead of PostgreSQL.
        adds_numbers: whether numbers are added while it lasts.
        promise: seconds; None: the row has no promise, only its number.
        settled_after: seconds after which everything has to be recorded and delivered.
    """

    name: str
    title: str
    strike: Callable[[Site], None]
    prepare: Callable[[Site], None] = nothing
    begin: Callable[[Site], None] = nothing
    embedded: bool = False
    adds_numbers: bool = False
    promise: float | None = SECONDS
    settled_after: float = SETTLED_AFTER
