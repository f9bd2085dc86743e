"""How sure we are (R7): from the facts about the candidates to probabilities. Pure, and made with the time of the call."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import fsum

from router.attribution.visits import OPEN_GAP

NOBODY_WEIGHT = 0.003
"""The weight of "nobody we know": a saved or printed number, a wrong one."""

HOLD_WEIGHT = 0.5
ENDED_WEIGHT = 0.5
ENDED_SCALE = timedelta(seconds=120)
ENDED_POWER = 1.2
REPLACED_FACTOR = 0.05
"""What is left of a visit's weight once the same visitor began another: he calls from the page that he sees."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A visit that held the dialled number before the call, as it was at the time of the call.

    `span_started_at` and `last_sign_at` are those of the newest span of signs of life that had begun by then.
    """

    visit_id: int
    visit: int
    source_key: int
    leased_at: datetime
    last_sign_at: datetime
    visitor: str


@dataclass(frozen=True, slots=True)
class Weighed:
    candidate: Candidate
    state: str
    """open, hold or ended"""
    silent: timedelta
    """How long before the call its last sign of life was; zero while it was open."""
    weight: float
    probability: float


def weigh(candidates: Sequence[Candidate], hold: timedelta, at: datetime) -> list[Weighed]:
    """Every candidate with its probability, most probable first; the later lease first among equals.

    A page counts as open for as long as signs of life may be apart, so that signs which come after the call change nothing.
    """
    newest: dict[str, datetime] = {}
    for one in candidates:
        newest[one.visitor] = max(one.leased_at, newest.get(one.visitor, one.leased_at))
    states = [(one, *_state(one, newest[one.visitor], hold, at)) for one in candidates]
    total = fsum([NOBODY_WEIGHT, *(weight for *_, weight in states)])  # the same in every order
    weighed = [Weighed(one, state, silent, weight, weight / total) for one, state, silent, weight in states]
    return sorted(
        weighed, key=lambda one: (-one.probability, -one.candidate.leased_at.timestamp(), one.candidate.visit_id)
    )


def _state(candidate: Candidate, newest: datetime, hold: timedelta, at: datetime) -> tuple[str, timedelta, float]:
    """`newest` is when the same visitor was lent the number last."""
    silent = at - candidate.last_sign_at
    part = REPLACED_FACTOR if newest > candidate.leased_at else 1.0
    if silent <= OPEN_GAP:
        return "open", timedelta(0), part
    if silent <= hold:
        return "hold", silent, part * HOLD_WEIGHT
    ended = ENDED_WEIGHT / (1 + (silent - min(hold, silent)) / ENDED_SCALE) ** ENDED_POWER
    return "ended", silent, part * ended


def source_confidence(weighed: Sequence[Weighed], source_key: int) -> float:
    """The probability that the call came from this marketing source: the sum over all its candidates."""
    return min(1.0, fsum(one.probability for one in weighed if one.candidate.source_key == source_key))
