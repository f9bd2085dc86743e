"""Replays traffic against a pool of any size, by the rules of R6 and R7, and counts what the pool would have told. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import merge

from router.attribution.decision import USUAL_REACH, Candidate, Reach, repeat_winner, weigh
from router.attribution.planner.traffic import CallMade, Span, Traffic, TrafficTap
from router.attribution.pool.choice import Curve, active_chance, chance_after, harm

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

_Decided = tuple[int | None, int | None, float]
"""A call's visit and marketing source, and how sure its visit is."""
_NOBODY: _Decided = (None, None, 0.0)


@dataclass
class Replayed:
    """What a pool told: of the calls how many were credited to the right marketing source and visit, of the visits how many had a
    number of their own (aim *visit*) or shared it within their source only (aim *source*)."""

    calls: int = 0
    right_sources: int = 0
    right_visits: int = 0
    visits: int = 0
    shared: int = 0
    mixed: int = 0
    stated: list[tuple[float, bool]] = field(default_factory=list)
    """Each call's stated confidence and whether its visit was right."""

    @property
    def source_share(self) -> float:
        return self.right_sources / self.calls if self.calls else 0.0

    @property
    def visit_share(self) -> float:
        return self.right_visits / self.calls if self.calls else 0.0


@dataclass
class _Holder:
    """A stay that holds a number, with the span of heartbeats that it is in."""

    stay: int
    visitor: str
    source_key: int
    span: Span


@dataclass
class _Number:
    """One number of the pool: who holds it now, and who was leased it before."""

    group: list[_Holder] = field(default_factory=list)
    leased_at: float = 0.0
    leases: list[tuple[float, int]] = field(default_factory=list)

    def last_sign(self, now: float) -> float:
        if len(self.group) == 1:
            return self.group[0].span.last_sign(now)
        return max(holder.span.last_sign(now) for holder in self.group)


class Pool:
    """A pool of numbers in memory, leased by the rules of R6."""

    def __init__(
        self, traffic: Traffic, numbers: int, aim: str, hold: float, survival: Curve | None, reach: Reach
    ) -> None:
        self.result = Replayed()
        self._stays = traffic.stays
        self._numbers = [_Number() for _ in range(numbers)]
        self._aim, self._hold, self._survival, self._reach = aim, hold, survival, reach
        self._shown: list[int | None] = [None] * len(traffic.stays)
        self._span_of: list[int] = [0] * len(traffic.stays)
        self._last_stay: dict[str, int] = {}
        self.shared: set[int] = set()
        self.mixed: set[int] = set()
        self._taps: dict[tuple[int, int], float] = {}
        self._first_calls: dict[tuple[str, int], _Decided] = {}

    def arrive(self, index: int, place: int, now: float) -> None:
        """A stay begins, or its pages are open again: it keeps the number that its visitor holds, or is leased another."""
        stay = self._stays[index]
        span = stay.spans[place]
        self._span_of[index] = place
        before = self._last_stay.get(stay.visitor)
        self._last_stay[stay.visitor] = index
        self.result.visits += self._shown[index] is None
        holder = _Holder(index, stay.visitor, stay.source_key, span)
        held = None if before is None else self._shown[before]
        if before is not None and held is not None:
            group = self._numbers[held].group
            fits = self._aim == "visit" or self._stays[before].source_key == stay.source_key
            is_held = group[-1].visitor == stay.visitor or any(
                member.visitor == stay.visitor and now - member.span.last_sign(now) <= self._hold for member in group
            )
            held = held if fits and is_held else None
        shown = self._choose(stay.source_key, now) if held is None else held
        number = self._numbers[shown]
        # the other stays that hold the number now, also earlier ones of the same visitor whose pages are open still
        others = (other for other in number.group if other.stay != holder.stay)
        active = [other for other in others if now - other.span.last_sign(now) <= self._hold]
        number.group = [*active, holder]
        if held is None or self._shown[index] is None:
            number.leases.append((now, index))
            number.leased_at = now
            for other in (other for other in active if other.visitor != holder.visitor):
                self.shared |= {other.stay, holder.stay}
                if other.source_key != holder.source_key:
                    self.mixed |= {other.stay, holder.stay}
        self._shown[index] = shown

    def tap(self, tap: TrafficTap) -> None:
        shown = self._shown[tap.stay]
        if shown is not None:
            self._taps[shown, tap.stay] = tap.at

    def call(self, call: CallMade) -> None:
        """Decides by R7, and compares with the truth.

        The candidates are the leases of the number at this moment, only the newest of each stay.
        """
        shown = self._shown[call.stay]
        if shown is None:
            return
        stay = self._stays[call.stay]
        at = _moment(call.at)
        oldest = call.at - self._reach.age.total_seconds()
        leases = [lease for lease in self._numbers[shown].leases[-self._reach.leases :] if lease[0] > oldest]
        candidates: dict[int, Candidate] = {}
        for leased_at, index in leases:
            leased = self._stays[index]
            span = leased.spans[self._span_of[index]]
            tapped_at = self._taps.get((shown, index))
            candidates[index] = Candidate(
                visit_id=index,
                visit=index,
                source_key=leased.source_key,
                leased_at=_moment(leased_at),
                last_sign_at=_moment(span.last_sign(call.at)),
                visitor=leased.visitor,
                left=span.left and call.at >= span.last,
                tapped_at=None if tapped_at is None else _moment(tapped_at),
            )
        earlier = len(leases) == self._reach.leases
        weighed = weigh(list(candidates.values()), timedelta(seconds=self._hold), at, earlier=earlier)
        decided = _NOBODY
        if weighed:
            best = weighed[0]
            decided = (best.candidate.visit_id, best.candidate.source_key, best.probability)
        visit, source, confidence = decided
        first = self._first_calls.setdefault((stay.visitor, shown), decided)
        if first is not decided and first is not _NOBODY:
            again = repeat_winner(first[0], first[2], weighed)
            visit, source, confidence = (again.candidate.visit_id if again else first[0]), first[1], first[2]
        self.result.calls += 1
        self.result.right_visits += visit == call.stay
        self.result.right_sources += source == stay.source_key
        self.result.stated.append((confidence, visit == call.stay))

    def _choose(self, source_key: int, now: float) -> int:
        """A number that nobody held yet, else the number with the least regret."""
        free = [i for i, number in enumerate(self._numbers) if not number.group]
        if free:
            return free[0]
        silences = [now - number.last_sign(now) for number in self._numbers]
        everyone: Sequence[int] = range(len(self._numbers))
        if self._aim == "visit":
            idle = [i for i in everyone if silences[i] > self._hold]
            everyone = idle or everyone

        def regret(index: int) -> float:
            number, silent = self._numbers[index], silences[index]
            is_idle = silent > self._hold
            chance = chance_after(silent, self._survival) if is_idle else active_chance(now - number.leased_at)
            return harm(chance, number.group[-1].source_key == source_key, self._aim)

        return min(everyone, key=regret)


def replay(
    traffic: Traffic,
    numbers: int,
    aim: str,
    hold: float = 150.0,
    survival: Curve | None = None,
    reach: Reach = USUAL_REACH,
) -> Replayed:
    """What a pool of so many numbers would have told about the traffic's calls.

    Args:
        aim: visit or source (R6).
        hold: seconds after the last heartbeat for which a visit counts as active.
        survival: what the scenario has learned; None: the default.
        reach: which leases of a number are candidates of a call (R7).
    """
    pool = Pool(traffic, numbers, aim, hold, survival, reach)
    arrivals = sorted(
        (span.start, 0, index, place)
        for index, stay in enumerate(traffic.stays)
        for place, span in enumerate(stay.spans)
    )
    taps = ((tap.at, 1, place, 0) for place, tap in enumerate(traffic.taps))
    calls = ((call.at, 2, place, 0) for place, call in enumerate(traffic.calls))
    for at, kind, place, part in merge(arrivals, taps, calls):
        if kind == 0:
            pool.arrive(place, part, at)
        elif kind == 1:
            pool.tap(traffic.taps[place])
        else:
            pool.call(traffic.calls[place])
    pool.result.shared, pool.result.mixed = len(pool.shared), len(pool.mixed)
    return pool.result


def _moment(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)
