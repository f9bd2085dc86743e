"""Three weeks of visitors of the example shop: where they came from, when, for how long, and which number each was lent.

Who of the visitors called, and who read the billboard: the calls of three weeks with how each was decided and how it ended."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from router.attribution.tracking.sources import Evidence, Source, read_evidence
from router.demo import shop
from router.demo.company import static_source

DAYS = 21
VISITS_A_DAY = 44
HOLD = timedelta(seconds=150)
HOURS = (0, 0, 0, 0, 0, 1, 3, 7, 12, 18, 24, 26, 25, 22, 24, 26, 24, 21, 18, 16, 13, 8, 4, 1)
"""How many come at each hour of the day, relatively."""
WEEKDAYS = (1.0, 1.1, 1.1, 1.05, 1.0, 0.8, 0.5)

FROM: tuple[tuple[int, float, str, str], ...] = (
    (
        24,
        0.16,
        "utm_source=google&utm_medium=cpc&utm_campaign=spring&utm_term=city+bike&gclid=Cj0{n}",
        "https://www.google.com/",
    ),
    (
        10,
        0.14,
        "utm_source=google&utm_medium=cpc&utm_campaign=repairs&utm_term=bike+repair&gclid=EAI{n}",
        "https://www.google.com/",
    ),
    (19, 0.10, "", "https://www.google.com/"),
    (5, 0.08, "", "https://www.bing.com/"),
    (11, 0.04, "utm_source=facebook&utm_medium=paid_social&utm_campaign=e-bikes", "https://l.facebook.com/"),
    (7, 0.11, "utm_source=newsletter&utm_medium=email&utm_campaign=april", ""),
    (6, 0.07, "", "https://www.bikeforum.example/threads/hub-gears"),
    (18, 0.12, "", ""),
)
"""Weight, how many of a hundred call, the query of the first page, the referrer."""
Came = tuple[int, float, str, str]
LETTER: Came = next(one for one in FROM if "newsletter" in one[2])
LETTER_DAYS, LETTER_HOUR, READERS = (1, 3), 11, 12
"""When the newsletter goes out more people read it at once than there are numbers."""
PAGES = ("", "", "bikes/harbor", "bikes/ridge", "bikes/meadow", "contact")


@dataclass
class Stay:
    """One visit. `number` is the tracking number it was lent, `turn` that number's count of leases."""

    started_at: datetime
    last_sign_at: datetime
    page: str
    referrer: str
    evidence: Evidence
    inclination: float
    visitor: int
    ga: dict[str, str] = field(default_factory=dict)
    number: str = ""
    turn: int = 0
    shared: bool = False
    mixed: bool = False
    """Shared with a stay that came from somewhere else."""
    visit_number: int = 0
    visit_id: int = 0


def three_weeks(random: Random, base_url: str, zone: str, now: datetime) -> list[Stay]:
    """All stays up to `now`, oldest first, each with its number."""
    stays = sorted(_stays(random, base_url, ZoneInfo(zone), now), key=lambda stay: stay.started_at)
    _lend(stays)
    return stays


def _stays(random: Random, base_url: str, zone: ZoneInfo, now: datetime) -> Iterator[Stay]:
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    visitor = 0
    for day in (today - timedelta(days=back) for back in range(DAYS, -1, -1)):
        for _ in range(round(VISITS_A_DAY * WEEKDAYS[day.weekday()] * random.uniform(0.85, 1.15))):
            hour = random.choices(range(24), HOURS)[0]
            start = (day + timedelta(hours=hour, seconds=random.uniform(0, 3600))).astimezone(now.tzinfo)
            again = visitor > 50 and random.random() < 0.12
            visitor += 0 if again else 1
            stay = _stay(random, base_url, start, random.randrange(visitor - 40, visitor) if again else visitor)
            if stay.last_sign_at + HOLD < now:
                yield stay
        for _ in range(READERS if day.weekday() in LETTER_DAYS else 0):
            visitor += 1
            start = (day + timedelta(hours=LETTER_HOUR, seconds=random.uniform(0, 900))).astimezone(now.tzinfo)
            stay = _stay(random, base_url, start, visitor, LETTER)
            if stay.last_sign_at + HOLD < now:
                yield stay


def _stay(random: Random, base_url: str, start: datetime, visitor: int, came: Came | None = None) -> Stay:
    _, inclination, query, referrer = came or random.choices(FROM, [one[0] for one in FROM])[0]
    query = query.format(n=random.randrange(10**9))
    page = f"{base_url}/demo/{random.choice(PAGES)}" + (f"?{query}" if query else "")
    lasts = timedelta(seconds=min(random.expovariate(1 / 160) + 8, 1500))
    evidence = read_evidence(page, referrer, {}, lambda host: False)
    ga = {}
    if random.random() < 0.8:
        session = int(start.timestamp())
        ga = {"client_id": f"{random.randrange(10**8, 10**9)}.{session}", "session_id": str(session)}
    return Stay(start, start + lasts, page, referrer, evidence, inclination, visitor, ga)


def _lend(stays: list[Stay]) -> None:
    """The number whose last visit has been gone for the longest; with all in use it is shared."""
    last_sign: dict[str, datetime] = {}
    holders: dict[str, list[Stay]] = {number: [] for number in shop.POOL}
    turns = dict.fromkeys(shop.POOL, 0)
    for stay in stays:
        number = min(shop.POOL, key=lambda one: (last_sign.get(one) is not None, last_sign.get(one, stay.started_at)))
        _share(stay, holders[number])
        turns[number] += 1
        stay.number, stay.turn = number, turns[number]
        last_sign[number] = max(stay.last_sign_at, last_sign.get(number, stay.last_sign_at))


def _share(stay: Stay, holders: list[Stay]) -> None:
    """Marks those who are shown the number at the same time, and leaves them as its holders."""
    holders[:] = [one for one in holders if one.last_sign_at + HOLD > stay.started_at]
    for one in holders:
        if one.visitor != stay.visitor:
            mixed = one.evidence.source.key != stay.evidence.source.key
            one.shared, one.mixed = True, one.mixed or mixed
            stay.shared, stay.mixed = True, stay.mixed or mixed
    holders.append(stay)


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
