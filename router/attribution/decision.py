"""Which visit and marketing source a call belongs to (R7): the visits that held its number, how probable each is to be the caller's, and
the decision by repeat, static, lease or none, with the steps that led there.

The weights are hazards: how likely somebody in this state calls in the next moment, compared with somebody who has just opened the page.
docs/attribution.md tells how they were found and how well they hold on other traffic.
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
from datetime import datetime, timedelta
from functools import lru_cache
from math import atan, fsum, pi, sqrt
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Integer, bindparam, func, or_, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Tap, Visit, VisitSpan
from router.attribution.tracking.sources import DIRECT, named_source
from router.attribution.tracking.visits import LEFT_GRACE, OPEN_GAP
from router.config import Settings
from router.db import table_of
from router.statements import Statement

NOBODY_WEIGHT = 0.003
"""The weight of "nobody we know": a saved or printed number, a wrong one."""

OPEN_SCALE = timedelta(seconds=300)
"""Who has looked at the number for so long without calling is half as likely to call now; never less than who has just gone."""

MINUTES_WEIGHT, MINUTES_SCALE = 0.35, 300.0
HOURS_WEIGHT, HOURS_SCALE = 0.008, 3600.0
"""After a page was closed most of those who still call do so within minutes, a few within hours or days: two curves, seconds."""

GLANCE = timedelta(seconds=40)
LEAST_GLANCE = 0.03
"""Who saw the number for a few seconds only seldom calls it later."""
MEAN_GLANCE = 0.43

REPLACED_FACTOR = 0.05
"""What is left of a visit's weight once the same visitor began another: he calls from the page that he sees."""

TAP_WEIGHT, LATE_TAP_WEIGHT = 200.0, 2.0
TAP_BEFORE, LATE_TAP_BEFORE = timedelta(seconds=15), timedelta(seconds=60)
"""A tap on the number opens the telephone: who tapped it so shortly before the call is far likelier than who only sees it."""


NO_TIME = timedelta(0)


class Candidate(NamedTuple):
    """A visit that held the dialled number before the call, as it was at the time of the call.

    `last_sign_at` and `left` are those of the newest span of heartbeats that had begun by then; `left`: it said that the page was
    being left. `tapped_at` is the last tap on the number by then. `span_started_at`: when the span began that the visit has now.
    """

    visit_id: int
    visit: int
    source_key: int
    leased_at: datetime
    last_sign_at: datetime
    visitor: str
    left: bool = False
    tapped_at: datetime | None = None
    span_started_at: datetime | None = None


class Weighed(NamedTuple):
    candidate: Candidate
    state: str
    """open, hold or ended"""
    silent: timedelta
    """How long before the call its last heartbeat was; zero while it was open."""
    replaced: bool
    """The same visitor was leased the number again later: he sees the page of that visit."""
    tapped: timedelta | None
    """How long before the call its visitor tapped the number; None: not within a minute."""
    weight: float
    probability: float
    source_probability: float
    """With its part of the visits before the candidates: a number that goes round among some sources did so before, too."""


def weigh(candidates: Sequence[Candidate], hold: timedelta, at: datetime, *, earlier: bool = False) -> list[Weighed]:
    """Every candidate with its probability, most probable first; the later lease first among equals.

    A page counts as open for as long as heartbeats may be apart, so that heartbeats which come after the call change nothing.

    Args:
        earlier: the number had been leased before the candidates, too; somebody of then may be calling as well.
    """
    newest: dict[str, datetime] = {}
    for candidate in candidates:
        before = newest.get(candidate.visitor)
        if before is None or candidate.leased_at > before:
            newest[candidate.visitor] = candidate.leased_at
    facts = []
    for candidate in candidates:
        silent, tapped = at - candidate.last_sign_at, None
        if silent <= (LEFT_GRACE if candidate.left else OPEN_GAP):
            state, silent = "open", NO_TIME
        else:
            state = "hold" if silent <= hold else "ended"
        if candidate.tapped_at is not None and NO_TIME <= at - candidate.tapped_at <= LATE_TAP_BEFORE:
            tapped = at - candidate.tapped_at
        facts.append((candidate, state, silent, newest[candidate.visitor] > candidate.leased_at, tapped))
    weights = [_weight(*known, at) for known in facts]
    unseen = 0.0
    if earlier and candidates:  # all visits before the candidates together, had the number been leased as often then
        seconds = max(1.0, (at - min(candidate.leased_at for candidate in candidates)).total_seconds())
        # the integral of the weight of a closed page from there on
        minutes = MINUTES_WEIGHT * MINUTES_SCALE * (pi / 2 - atan(seconds / MINUTES_SCALE))
        hours = 2 * HOURS_WEIGHT * HOURS_SCALE / sqrt(1 + seconds / HOURS_SCALE)
        unseen = len(candidates) / seconds * MEAN_GLANCE * (minutes + hours)
    total = fsum([NOBODY_WEIGHT, unseen, *weights])  # the same in every order
    each = unseen / len(candidates) if candidates else 0.0
    weighed = [
        Weighed(*known, weight, weight / total, (weight + each) / total)
        for known, weight in zip(facts, weights, strict=True)
    ]

    # by the last of these orders; those that are equal by it stay in the one before
    weighed.sort(key=lambda entry: entry.candidate.visit_id)
    weighed.sort(key=lambda entry: entry.candidate.leased_at, reverse=True)
    weighed.sort(key=attrgetter("probability"), reverse=True)
    return weighed


def _weight(
    candidate: Candidate, state: str, silent: timedelta, replaced: bool, tapped: timedelta | None, at: datetime
) -> float:
    """The hazard of a call at this moment."""
    if tapped is not None:
        return TAP_WEIGHT if tapped <= TAP_BEFORE else LATE_TAP_WEIGHT
    part = REPLACED_FACTOR if replaced else 1.0
    if state == "open":
        return part * max(1 / (1 + (at - candidate.leased_at) / OPEN_SCALE), MINUTES_WEIGHT + HOURS_WEIGHT)
    seen, seconds = max(0.0, (candidate.last_sign_at - candidate.leased_at) / GLANCE) ** 2, silent.total_seconds()
    later = MINUTES_WEIGHT / (1 + (seconds / MINUTES_SCALE) ** 2) + HOURS_WEIGHT / sqrt(1 + seconds / HOURS_SCALE) ** 3
    return part * max(LEAST_GLANCE, seen / (1 + seen)) * later


def source_confidence(weighed: Sequence[Weighed], source_key: int) -> float:
    """The probability that the call came from this marketing source: the sum over all its candidates."""
    return min(1.0, fsum(entry.source_probability for entry in weighed if entry.candidate.source_key == source_key))


SOURCE_COLUMNS = ("channel", "source", "medium", "campaign", "term", "content")

_lease, _visit, _span, _tap = table_of(Lease).c, table_of(Visit).c, table_of(VisitSpan).c, table_of(Tap).c
_TAPPED = (
    select(_tap.visit_id, func.max(_tap.at).label("tapped_at"))
    .where(_tap.number_id == bindparam("number"), _tap.at <= bindparam("at"), _tap.at >= bindparam("tapped_since"))
    .group_by(_tap.visit_id)
    .subquery("tapped")
)
_LEASES = Statement(
    select(
        _visit.id.label("visit_id"),
        _visit.number.label("visit"),
        _visit.source_key,
        _lease.started_at.label("leased_at"),
        *(_visit[name] for name in ("last_sign_at", "visitor", "left")),
        _TAPPED.c.tapped_at,
        _visit.span_started_at,
    )
    .join_from(table_of(Lease), table_of(Visit), _visit.id == _lease.visit_id)
    .outerjoin(_TAPPED, _TAPPED.c.visit_id == _lease.visit_id)
    .where(
        _lease.number_id == bindparam("number"),
        _lease.started_at <= bindparam("at"),
        _lease.started_at > bindparam("oldest"),
        or_(_lease.returned_at.is_(None), _lease.returned_at > bindparam("at")),
    )
    .order_by(_lease.started_at.desc(), _lease.turn.desc())
    .limit(bindparam("most", type_=Integer)),
    Candidate,
)
_SPAN = Statement(
    select(_span.last_at, _span.left)
    .where(_span.visit_id == bindparam("visit"), _span.started_at <= bindparam("at"))
    .order_by(_span.started_at.desc())
    .limit(1)
)
"""The newest span of a visit that had begun at a moment."""
_SOURCES = select(_visit.id, *(_visit[name] for name in SOURCE_COLUMNS)).where(
    _visit.id.in_(bindparam("visits", expanding=True))
)

Sources = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Reach:
    """Which leases of a number are candidates of a call (R7): so many of the last ones, and none that is as old as `age`."""

    leases: int = 50
    age: timedelta = timedelta(days=30)

    def kept(self) -> dict[str, int]:
        return {"candidate_leases": self.leases, "candidate_days": self.age.days}


USUAL_REACH = Reach()


def reach_of(settings: Settings) -> Reach:
    return Reach(settings.candidate_leases, timedelta(days=settings.candidate_days))


def reach_then(decision: Mapping[str, Any]) -> Reach:
    """What held when a call came, by its decision; the usual one where nothing was kept."""
    kept = decision.get("given") or {}
    if "candidate_leases" not in kept:
        return USUAL_REACH
    return Reach(kept["candidate_leases"], timedelta(days=kept["candidate_days"]))


@dataclass(frozen=True, slots=True)
class Question:
    """Which visits may a call to a number belong to? The hold is that of the number's scenario then."""

    number_id: int
    hold: timedelta
    at: datetime
    reach: Reach = USUAL_REACH


def weighed_candidates(
    session: Session, number_id: int, hold: timedelta, at: datetime, reach: Reach = USUAL_REACH
) -> tuple[list[Weighed], Sources]:
    """The candidates of a call at a moment, most probable first, and the marketing source of the most probable one's visit.

    One index range of leases; the heartbeats are taken as they stood at that moment, however late it is now. A lease that had been given
    back by then is none of them: its number never stood on the page.
    """
    return many_weighed_candidates(session, [Question(number_id, hold, at, reach)])[0]


def many_weighed_candidates(session: Session, questions: Sequence[Question]) -> list[tuple[list[Weighed], Sources]]:
    """The same for many calls, which PostgreSQL answers in one go."""
    values = [
        {
            "number": question.number_id,
            "at": question.at,
            "oldest": question.at - question.reach.age,
            "tapped_since": question.at - LATE_TAP_BEFORE,
            "most": question.reach.leases,
        }
        for question in questions
    ]
    leases = _LEASES.many(session, values)
    # visits whose present span began after the call: as they stood when it came
    begun_again = [
        {"visit": candidate.visit_id, "at": question.at}
        for question, found in zip(questions, leases, strict=True)
        for candidate in found
        if candidate.span_started_at > question.at
    ]
    spans = _SPAN.many(session, begun_again)
    stood = {(asked["visit"], asked["at"]): found[0] for asked, found in zip(begun_again, spans, strict=True) if found}
    answers = []
    for question, found in zip(questions, leases, strict=True):
        newest = {candidate.visit_id: candidate for candidate in reversed(found)}
        if stood:
            for visit_id, candidate in newest.items():
                if span := stood.get((visit_id, question.at)):
                    newest[visit_id] = candidate._replace(last_sign_at=span.last_at, left=span.left)
        candidates = list(newest.values())
        answers.append(weigh(candidates, question.hold, question.at, earlier=len(found) == question.reach.leases))
    best = {weighed[0].candidate.visit_id for weighed in answers if weighed}
    named = session.execute(_SOURCES, {"visits": list(best)}) if best else ()
    sources = {row.id: {name: getattr(row, name) for name in SOURCE_COLUMNS} for row in named}
    of_best = [
        {entry.candidate.visit_id: sources[entry.candidate.visit_id] for entry in weighed[:1]} for weighed in answers
    ]
    return list(zip(answers, of_best, strict=True))


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
        overflow: it is an overflow number, which is leased to nobody: there are no candidates.
    """
    own_source, sure = None, 0.0
    if static_source is None and weighed:
        own_source = sources[weighed[0].candidate.visit_id]
        sure = source_confidence(weighed, weighed[0].candidate.source_key)
    because = _why_no_repeat(earlier, static_source, own_source if sure >= OWN_SURE else None, credit)
    step: dict[str, Any] = {"rule": "repeat", "applies": not because}
    steps = [step]
    which = "earlier" if credit == LAST_NON_DIRECT else "first"
    if earlier is not None:
        step |= {f"{which}_call_id": earlier.call_id, f"{which}_call_at": earlier.started_at.isoformat()}
    if because:
        step["because"] = because
    decided: tuple[str, int | None, Mapping[str, Any] | None, int | None, float | None, float | None]
    if earlier is not None and not because:
        winner = repeat_winner(earlier.visit_id, earlier.confidence, weighed)
        visit_id = winner.candidate.visit_id if winner else earlier.visit_id
        step |= {f"{which}_visit_id": earlier.visit_id, "visit_by": "lease" if winner else f"{which} call"}
        sureness = earlier.confidence, earlier.source_confidence
        decided = "repeat", visit_id, earlier.source, earlier.source_key, *sureness
    elif static_source is not None:
        source = named_source(**{name: str(static_source.get(name) or "") for name in ("source", "medium", "campaign")})
        steps.append({"rule": "static", "applies": True})
        decided = "static", None, source.as_dict(), source.key, 1.0, 1.0
    else:
        steps.append({"rule": "static", "applies": False, "because": OVERFLOW if overflow else "the number is dynamic"})
        if weighed:
            best = weighed[0]
            steps.append({"rule": "lease", "applies": True, "candidates": len(weighed), "state": best.state})
            decided = "lease", best.candidate.visit_id, own_source, best.candidate.source_key, best.probability, sure
        else:
            nobody = OVERFLOW if overflow else "nobody was lent the number"
            steps.append({"rule": "lease", "applies": False, "because": nobody})
            steps.append({"rule": "none", "applies": True})
            decided = "none", None, None, None, None, None
    candidates = [
        {
            "visit": candidate.visit,
            "visit_id": candidate.visit_id,
            "source_key": candidate.source_key,
            "probability": round(probability, DIGITS),
            "state": state,
            "silent_seconds": int(silent.total_seconds()),
            "leased_at": _text_of(candidate.leased_at),
            "left": candidate.left and state != "open",
            "replaced": replaced,
            "tapped_seconds": None if tapped is None else int(tapped.total_seconds()),
        }
        for place, (candidate, state, silent, replaced, tapped, _, probability, _) in enumerate(weighed)
        if place == 0 or probability >= LEAST_KEPT
    ]
    parts = ((entry.candidate.source_key, entry.source_probability, entry.candidate.visit_id) for entry in weighed)
    shares = shares_by_source(parts)
    return Decision(*decided, candidates, steps, shares)


_text_of = lru_cache(maxsize=4096)(datetime.isoformat)
"""Of a moment in UTC: each lease is a candidate of all calls to its number, and to write it costs as much as to weigh it."""


def _why_no_repeat(
    earlier: EarlierCall | None,
    static_source: Mapping[str, Any] | None,
    own_source: Mapping[str, Any] | None,
    credit: str,
) -> str:
    """Why a call is credited by its own number or visit and not by an earlier call; empty when it is not.

    Args:
        own_source: of the visit that rule 3 names, where that is sure enough.
    """
    if earlier is None:
        return "first call"
    if credit == OWN_VISIT:
        return "every call by its own visit"
    if credit != LAST_NON_DIRECT:
        return "first call has no source" if earlier.source is None else ""
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
    known = [entry.candidate.visitor for entry in weighed if entry.candidate.visit_id == visit_id]
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
