"""Who of the visitors called, and who read the billboard: the calls of three weeks with how each was decided and how it ended."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from router.attribution.sources import Source
from router.demo import shop
from router.demo.company import static_source
from router.demo.visitors import DAYS, HOLD, Stay

AREAS = ("212", "312", "408", "510", "628", "650", "707", "831", "925")
WITHHELD_SHARE = 0.05
REPEAT_SHARE = 0.22
PRINT_CALLS = 34
NOBODY_WE_KNOW = 0.02
CANDIDATES = 4

ENDINGS = (
    (62, "answered", (("completed", 1),)),
    (16, "answered", (("no_answer", 0), ("completed", 1))),
    (9, "missed", (("no_answer", 0), ("no_answer", 0))),
    (4, "busy", (("busy", 0), ("busy", 0))),
    (8, "abandoned", (("canceled", 0),)),
    (1, "failed", (("failed", 0), ("failed", 0))),
)
"""Weight, the call's status, and how each destination in turn did."""


@dataclass
class RungLine:
    """One destination that was rung: seconds after the call's start."""

    to: str
    status: str
    rang_at: float
    ended_at: float
    answered_at: float | None = None


@dataclass
class PastCall:
    """One call of the example company's past."""

    started_at: datetime
    number: str
    caller: str | None
    status: str = ""
    lines: list[RungLine] = field(default_factory=list)
    rule: str = "none"
    confidence: float | None = None
    source_confidence: float | None = None
    source: Source | None = None
    stay: Stay | None = None
    candidates: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    earlier: "PastCall | None" = None
    """The first call of the same caller to the same number."""
    id: int = 0

    @property
    def first(self) -> bool:
        return self.caller is not None and self.earlier is None

    @property
    def ended_after(self) -> float:
        return max(line.ended_at for line in self.lines)

    @property
    def answered(self) -> RungLine | None:
        return next((line for line in self.lines if line.answered_at is not None), None)


def three_weeks_of_calls(random: Random, stays: list[Stay], now: datetime) -> list[PastCall]:
    """Oldest first, not decided yet. Whoever calls with the page open stays on it."""
    calls = [*_from_the_site(random, stays), *_from_paper(random, now)]
    calls = sorted(
        (call for call in calls if call.started_at < now - timedelta(hours=1)), key=lambda one: one.started_at
    )
    _call_again(random, calls)
    for call in calls:
        _play(random, call)
    return calls


def _from_the_site(random: Random, stays: Iterable[Stay]) -> Iterable[PastCall]:
    for stay in stays:
        if random.random() < stay.inclination:
            open_page = random.random() < 0.8
            wait = random.uniform(20, 140) if open_page else random.uniform(300, 4000)
            stay.last_sign_at = max(
                stay.last_sign_at, stay.started_at + timedelta(seconds=wait + 30 if open_page else 0)
            )
            yield PastCall(stay.started_at + timedelta(seconds=wait), stay.number, _somebody(random))


def _from_paper(random: Random, now: datetime) -> Iterable[PastCall]:
    for _ in range(PRINT_CALLS):
        number = random.choices((shop.BILLBOARD, shop.FLYER), (3, 2))[0]
        day = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=random.randrange(DAYS))
        yield PastCall(day + timedelta(seconds=random.gauss(14, 2.5) * 3600), number, _somebody(random))


def _somebody(random: Random) -> str | None:
    if random.random() < WITHHELD_SHARE:
        return None
    return f"+1{random.choice(AREAS)}55501{random.randrange(100):02d}"


def _call_again(random: Random, calls: list[PastCall]) -> None:
    """Some callers kept the number and call it again."""
    for index, call in enumerate(calls):
        earlier = [one for one in calls[max(0, index - 30) : index] if one.number == call.number and one.caller]
        if earlier and random.random() < REPEAT_SHARE:
            call.caller = random.choice(earlier).caller


def _play(random: Random, call: PastCall) -> None:
    """Rings the company's lines one after the other."""
    _, call.status, ends = random.choices(ENDINGS, [one[0] for one in ENDINGS])[0]
    at = 0.5
    for (status, answered), to in zip(ends, (shop.COUNTER, shop.WORKSHOP), strict=False):
        rings = {"no_answer": 25.0, "busy": 2.0, "failed": 1.0}.get(status, random.uniform(4, 18))
        line = RungLine(to, status, at + 0.8, at + rings)
        if answered:
            line.answered_at = at + rings
            line.ended_at = line.answered_at + min(30 + random.expovariate(1 / 150), 1500)
        call.lines.append(line)
        at += rings + 0.4


class Decider:
    """R7 over the company's past, to be asked about the oldest call first: repeat, static, lease."""

    def __init__(self, stays: list[Stay]) -> None:
        self._leases: dict[str, list[Stay]] = {}
        for stay in stays:
            self._leases.setdefault(stay.number, []).append(stay)
        self._known: dict[tuple[str, str], PastCall] = {}

    def __call__(self, call: PastCall) -> None:
        earlier = self._known.get((call.number, call.caller)) if call.caller else None
        call.earlier = earlier
        self._weigh(call)
        repeated = earlier is not None and earlier.source is not None
        call.steps.append({"rule": "repeat", "applies": repeated})
        if earlier is not None and repeated:
            self._repeat(call, earlier)
        elif call.number in (shop.BILLBOARD, shop.FLYER):
            call.rule, call.confidence, call.source_confidence = "static", 1.0, 1.0
            call.source = static_source(call.number)
            call.steps.append({"rule": "static", "applies": True})
        else:
            call.steps.append({"rule": "static", "applies": False})
            self._lease(call)
        if call.caller is not None:
            self._known.setdefault((call.number, call.caller), call)

    def _repeat(self, call: PastCall, earlier: PastCall) -> None:
        call.rule, call.source = "repeat", earlier.source
        call.source_confidence = earlier.source_confidence
        sure = bool(call.candidates) and call.candidates[0]["probability"] >= 0.5
        call.confidence = call.candidates[0]["probability"] if sure else earlier.confidence
        call.stay = call.stay if sure else earlier.stay
        call.steps[-1]["visit_by"] = "lease" if sure else "first_call"

    def _lease(self, call: PastCall) -> None:
        call.steps.append({"rule": "lease", "applies": call.stay is not None, "candidates": len(call.candidates)})
        if call.stay is None:
            call.steps.append({"rule": "none", "applies": True})
            return
        call.rule, call.source = "lease", call.stay.evidence.source
        call.confidence = call.candidates[0]["probability"]
        of_source = [one["probability"] for one in call.candidates if one["source_key"] == call.source.key]
        call.source_confidence = round(sum(of_source), 4)

    def _weigh(self, call: PastCall) -> None:
        """The visits that were lent this number before the call, the most probable first."""
        leases = self._leases.get(call.number, [])
        last = bisect_right(leases, call.started_at, key=lambda stay: stay.started_at)
        seen = [(stay, *_weight(stay, call.started_at)) for stay in leases[max(0, last - CANDIDATES) : last]]
        total = sum(weight for _, weight, _, _ in seen) + NOBODY_WE_KNOW
        seen.sort(key=lambda one: one[1], reverse=True)
        call.stay = seen[0][0] if seen else None
        call.candidates = [
            {
                "visit": stay.visit_number,
                "visit_id": stay.visit_id,
                "probability": round(weight / total, 4),
                "state": state,
                "silent_seconds": round(silent),
                "source_key": stay.evidence.source.key,
            }
            for stay, weight, state, silent in seen
        ]


def _weight(stay: Stay, at: datetime) -> tuple[float, str, float]:
    silent = (at - stay.last_sign_at).total_seconds()
    if silent <= 45:
        return 1.0, "open", max(silent, 0)
    if silent <= HOLD.total_seconds():
        return 0.5, "hold", silent
    return 0.25 / (1 + silent / 300), "ended", silent
