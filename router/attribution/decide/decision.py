"""Which visit and marketing source a call belongs to (R7): repeat, static, lease or none, with the steps that led there.

Rule 1, repeat: A has called B before, in this project. Earlier is what began earlier, in whatever order calls became known; of two
calls of one moment, the one whose carrier id sorts first. A number is its row: it stays the same when it moves to another scenario,
becomes static, or is given back and rented again; in another project it has another row. Direct is a source, none is not. What the
call is credited to is the project's choice (`Project.repeat_credit`):

`first_call`
    the source and the confidence of the first call, if it has a source. If it has none, the next rules decide.
`last_non_direct`
    the caller's last known source that is not Direct: (a) this call's own visit's, when the number is dynamic and rule 3 names such a
    source with a source confidence of at least one half: rule 1 is passed over; (b) else that of the latest earlier call that has one,
    with that call's confidence. When nothing but Direct is known of the caller: (c) the own visit, when rule 3 is at least half sure of
    its source; (d) else the latest earlier call that is Direct, unless the number is static, which is a source that is not Direct.
    When no earlier call has a source, the next rules decide.
`own_visit`
    rule 1 is passed over; the next rules decide as on a first call.

Whatever the choice, the call is no first call, and a withheld caller never has an earlier one. A choice counts for the calls that come
after it: a call that is decided again, because an earlier one became known late, is decided with what was chosen when it came."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from router.attribution.decide.candidates import Weighed, source_confidence
from router.attribution.tracking.sources import DIRECT, named_source

REPEAT_VISIT_LEAST = 0.5
"""A repeat call's visit is the lease winner if he is at least this probable, else the first call's."""

OVERFLOW = "the number is shown when all others are taken"

DIGITS = 4
LEAST_KEPT = 0.5 / 10**DIGITS
"""Probabilities below round to nothing: such candidates are counted, not listed."""


FIRST_CALL, LAST_NON_DIRECT, OWN_VISIT = "first_call", "last_non_direct", "own_visit"
OWN_SURE = 0.5
"""From this source confidence on, this call's own visit counts before what earlier calls say (`last_non_direct`)."""


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """An earlier call of the same caller to the same number: the first by time, or for `last_non_direct` the latest one whose source
    is not Direct, else the latest Direct one, else any."""

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
    shares: list[list[Any]] = field(default_factory=list)
    """`[[source_key, probability, a visit_id], ...]` by the leases of the number; what is missing to 1 is nobody we know."""

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
            "shares": self.shares,
            "decision": {"steps": self.steps},
        }


def decide(
    earlier: EarlierCall | None,
    static_source: Mapping[str, Any] | None,
    weighed: Sequence[Weighed],
    sources: Mapping[int, Mapping[str, Any]],
    credit: str = FIRST_CALL,
    *,
    overflow: bool = False,
) -> Decision:
    """The first rule that applies decides.

    Args:
        earlier: the call that `credit` asks for; None for a first call, and always for a withheld caller.
        static_source: `{source, medium, campaign}` when the number is static.
        weighed: the candidates, most probable first.
        sources: the marketing source of the most probable candidate's visit, by visit id.
        credit: what the project credits repeat calls to.
        overflow: it is an overflow number, which is lent to nobody: there are no candidates.
    """
    steps: list[dict[str, Any]] = []
    decided = _by_repeat(earlier, static_source, weighed, sources, credit, steps)
    if decided is None and static_source is not None:
        source = named_source(**{name: str(static_source.get(name) or "") for name in ("source", "medium", "campaign")})
        steps.append({"rule": "static", "applies": True})
        decided = "static", None, source.as_dict(), source.key, 1.0, 1.0
    elif decided is None:
        steps.append({"rule": "static", "applies": False, "because": OVERFLOW if overflow else "the number is dynamic"})
    if decided is None and weighed:
        winner = weighed[0]
        visit_id, source_key = winner.candidate.visit_id, winner.candidate.source_key
        steps.append({"rule": "lease", "applies": True, "candidates": len(weighed), "state": winner.state})
        sure = source_confidence(weighed, source_key)
        decided = "lease", visit_id, sources[visit_id], source_key, winner.probability, sure
    elif decided is None:
        because = OVERFLOW if overflow else "nobody was lent the number"
        steps.append({"rule": "lease", "applies": False, "because": because})
        steps.append({"rule": "none", "applies": True})
        decided = "none", None, None, None, None, None
    candidates = [
        {
            "visit": one.candidate.visit,
            "visit_id": one.candidate.visit_id,
            "source_key": one.candidate.source_key,
            "probability": round(one.probability, DIGITS),
            "state": one.state,
            "silent_seconds": int(one.silent.total_seconds()),
            "leased_at": one.candidate.leased_at.isoformat(),
            "left": one.candidate.left and one.state != "open",
            "replaced": one.replaced,
            "tapped_seconds": None if one.tapped is None else int(one.tapped.total_seconds()),
        }
        for one in weighed
        if one is weighed[0] or one.probability >= LEAST_KEPT
    ]
    shares = shares_by_source(
        (one.candidate.source_key, one.source_probability, one.candidate.visit_id) for one in weighed
    )
    return Decision(*decided, candidates, steps, shares)


Decided = tuple[str, int | None, Mapping[str, Any] | None, int | None, float | None, float | None]


def _by_repeat(
    earlier: EarlierCall | None,
    static_source: Mapping[str, Any] | None,
    weighed: Sequence[Weighed],
    sources: Mapping[int, Mapping[str, Any]],
    credit: str,
    steps: list[dict[str, Any]],
) -> Decided | None:
    step: dict[str, Any] = {"rule": "repeat", "applies": False}
    steps.append(step)
    if earlier is None:
        step["because"] = "first call"
        return None
    which = "earlier" if credit == LAST_NON_DIRECT else "first"
    step |= {f"{which}_call_id": earlier.call_id, f"{which}_call_at": earlier.started_at.isoformat()}
    if credit == OWN_VISIT:
        because = "every call by its own visit"
    elif credit == LAST_NON_DIRECT:
        because = _own_is_later(earlier, static_source, weighed, sources)
    else:
        because = "first call has no source" if earlier.source is None else ""
    if because:
        step["because"] = because
        return None
    winner = repeat_winner(earlier.visit_id, earlier.confidence, weighed)
    visit_id = winner.candidate.visit_id if winner else earlier.visit_id
    step |= {
        "applies": True,
        f"{which}_visit_id": earlier.visit_id,
        "visit_by": "lease" if winner else f"{which} call",
    }
    return "repeat", visit_id, earlier.source, earlier.source_key, earlier.confidence, earlier.source_confidence


def _own_is_later(
    earlier: EarlierCall,
    static_source: Mapping[str, Any] | None,
    weighed: Sequence[Weighed],
    sources: Mapping[int, Mapping[str, Any]],
) -> str:
    """Why a repeat call is credited by its own number or visit and not by an earlier call (`last_non_direct`); empty when it is not."""
    own_source = None
    if static_source is None and weighed:
        winner = weighed[0].candidate
        if source_confidence(weighed, winner.source_key) >= OWN_SURE:
            own_source = sources[winner.visit_id]
    if own_source and not is_direct(own_source):
        return "own visit"
    if earlier.source is None:
        return "no earlier call has a source"
    if not is_direct(earlier.source):
        return ""
    return "own visit" if own_source else "own number" if static_source is not None else ""


def repeat_winner(visit_id: int | None, confidence: float | None, weighed: Sequence[Weighed]) -> Weighed | None:
    """The lease winner, if he is the visit of a repeat call rather than the first call's. Who called before is known by his first call with
    its confidence: another visitor's visit has to be likelier than that was right, however well it would fit a first call."""
    winner = weighed[0] if weighed and weighed[0].probability >= REPEAT_VISIT_LEAST else None
    if winner is None or visit_id is None or confidence is None:
        return winner
    known = [one.candidate.visitor for one in weighed if one.candidate.visit_id == visit_id]
    if winner.candidate.visitor in known or winner.probability * (1 - confidence) > confidence:
        return winner
    return None


def is_direct(source: Mapping[str, Any]) -> bool:
    return bool(source["channel"] == DIRECT.channel)


def shares_by_source(parts: Iterable[tuple[int, float, int]]) -> list[list[Any]]:
    """`[[source_key, probability, a visit_id], ...]` of parts in this order, with the parts of a source added up."""
    shares: dict[int, list[Any]] = {}
    for key, probability, visit_id in parts:
        share = shares.setdefault(key, [key, 0.0, visit_id])
        share[1] += probability
    return [[key, round(share, DIGITS), visit_id] for key, share, visit_id in shares.values() if share >= LEAST_KEPT]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
