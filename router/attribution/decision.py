"""Which visit and marketing source a call belongs to (R7): repeat, static, lease or none, with the steps that led there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from router.attribution.confidence import Weighed, source_confidence
from router.attribution.sources import named_source

REPEAT_VISIT_LEAST = 0.5
"""A repeat call's visit is the lease winner if he is at least this probable, else the first call's."""

LEAST_KEPT = 0.001
"""Candidates below are counted, not listed: together they are less than the rounding of the others."""
DIGITS = 4


@dataclass(frozen=True, slots=True)
class FirstCall:
    """The first call of the same caller to the same number, by time."""

    call_id: int
    started_at: datetime
    visit_id: int | None
    source: Mapping[str, Any] | None
    source_key: int | None
    confidence: float | None
    source_confidence: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """An attribution. `source` is `{channel, source, medium, campaign, term, content}`; None when nothing is known."""

    rule: str
    visit_id: int | None
    source: Mapping[str, Any] | None
    source_key: int | None
    confidence: float | None
    source_confidence: float | None
    candidates: list[dict[str, Any]]
    steps: list[dict[str, Any]]

    def values(self) -> dict[str, Any]:
        """The columns of a call that hold it."""
        return {
            "rule": self.rule,
            "visit_id": self.visit_id,
            "source": dict(self.source) if self.source else None,
            "source_key": self.source_key,
            "confidence": _rounded(self.confidence),
            "source_confidence": _rounded(self.source_confidence),
            "candidates": self.candidates,
            "decision": {"steps": self.steps},
        }


def decide(
    first_call: FirstCall | None,
    static_source: Mapping[str, Any] | None,
    weighed: Sequence[Weighed],
    sources: Mapping[int, Mapping[str, Any]],
) -> Decision:
    """The first rule that applies decides.

    Args:
        first_call: None for a first call, and always for a withheld caller.
        static_source: `{source, medium, campaign}` when the number is static.
        weighed: the candidates, most probable first.
        sources: the marketing source of the most probable candidate's visit, by visit id.
    """
    candidates = [_kept(one) for one in weighed if one is weighed[0] or one.probability >= LEAST_KEPT]
    steps: list[dict[str, Any]] = []
    decided = (
        _by_repeat(first_call, weighed, steps)
        or _by_static(static_source, steps)
        or _by_lease(weighed, sources, steps)
        or _none(steps)
    )
    return Decision(*decided, candidates, steps)


Decided = tuple[str, int | None, Mapping[str, Any] | None, int | None, float | None, float | None]


def _by_repeat(first: FirstCall | None, weighed: Sequence[Weighed], steps: list[dict[str, Any]]) -> Decided | None:
    if first is None:
        steps.append({"rule": "repeat", "applies": False, "because": "first call"})
        return None
    told = {"first_call_id": first.call_id, "first_call_at": first.started_at.isoformat()}
    if first.source is None:
        steps.append({"rule": "repeat", "applies": False, "because": "first call has no source"} | told)
        return None
    winner = weighed[0] if weighed and weighed[0].probability >= REPEAT_VISIT_LEAST else None
    visit_id = winner.candidate.visit_id if winner else first.visit_id
    steps.append(
        {
            "rule": "repeat",
            "applies": True,
            "first_visit_id": first.visit_id,
            "visit_by": "lease" if winner else "first call",
        }
        | told
    )
    return "repeat", visit_id, first.source, first.source_key, first.confidence, first.source_confidence


def _by_static(static_source: Mapping[str, Any] | None, steps: list[dict[str, Any]]) -> Decided | None:
    if static_source is None:
        steps.append({"rule": "static", "applies": False, "because": "the number is dynamic"})
        return None
    given = {name: str(static_source.get(name) or "") for name in ("source", "medium", "campaign")}
    source = named_source(**given)
    steps.append({"rule": "static", "applies": True})
    return "static", None, source.as_dict(), source.key, 1.0, 1.0


def _by_lease(
    weighed: Sequence[Weighed], sources: Mapping[int, Mapping[str, Any]], steps: list[dict[str, Any]]
) -> Decided | None:
    if not weighed:
        steps.append({"rule": "lease", "applies": False, "because": "nobody was lent the number"})
        return None
    winner = weighed[0]
    key = winner.candidate.source_key
    steps.append({"rule": "lease", "applies": True, "candidates": len(weighed), "state": winner.state})
    sure = source_confidence(weighed, key)
    return "lease", winner.candidate.visit_id, sources[winner.candidate.visit_id], key, winner.probability, sure


def _none(steps: list[dict[str, Any]]) -> Decided:
    steps.append({"rule": "none", "applies": True})
    return "none", None, None, None, None, None


def _kept(one: Weighed) -> dict[str, Any]:
    return {
        "visit": one.candidate.visit,
        "visit_id": one.candidate.visit_id,
        "source_key": one.candidate.source_key,
        "probability": round(one.probability, DIGITS),
        "state": one.state,
        "silent_seconds": int(one.silent.total_seconds()),
        "leased_at": one.candidate.leased_at.isoformat(),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
