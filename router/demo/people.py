"""The people of the example shop: three weeks of visits, each with the number that it was leased, and of calls, decided and ended."""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from router.attribution.decision import USUAL_REACH, Candidate, Decision, EarlierCall, decide, weigh
from router.attribution.tracking.sources import Evidence, read_evidence
from router.demo import shop
from router.demo.company import static_source

DAYS = 21
VISITS_A_DAY = 44
HOLD = timedelta(seconds=150)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
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
LETTER: Came = next(came for came in FROM if "newsletter" in came[2])
LETTER_DAYS, LETTER_HOUR, READERS = (1, 3), 11, 12
"""When the newsletter goes out more people read it at once than there are numbers."""
PAGES = ("", "", "bikes/harbor", "bikes/ridge", "bikes/meadow", "contact")


@dataclass
class Stay:
    """One visit. `number` is the tracking number that it was leased, `turn` that number's count of leases."""

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
    today = now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    stays: list[Stay] = []
    visitor = 0
    for day in (today - timedelta(days=back) for back in range(DAYS, -1, -1)):
        for _ in range(round(VISITS_A_DAY * WEEKDAYS[day.weekday()] * random.uniform(0.85, 1.15))):
            hour = random.choices(range(24), HOURS)[0]
            start = (day + timedelta(hours=hour, seconds=random.uniform(0, 3600))).astimezone(now.tzinfo)
            again = visitor > 50 and random.random() < 0.12
            visitor += 0 if again else 1
            who = random.randrange(visitor - 40, visitor) if again else visitor
            stays.append(_stay(random, base_url, start, who))
        for _ in range(READERS if day.weekday() in LETTER_DAYS else 0):
            visitor += 1
            start = (day + timedelta(hours=LETTER_HOUR, seconds=random.uniform(0, 900))).astimezone(now.tzinfo)
            stays.append(_stay(random, base_url, start, visitor, LETTER))
    stays = sorted((stay for stay in stays if stay.last_sign_at + HOLD < now), key=lambda stay: stay.started_at)
    # each is leased the number whose last visit has been gone for the longest; with all in use it is shared
    last_sign: dict[str, datetime] = {}
    holders: dict[str, list[Stay]] = {number: [] for number in shop.POOL}
    turns = dict.fromkeys(shop.POOL, 0)
    for stay in stays:
        number = min(shop.POOL, key=lambda e164: last_sign.get(e164, LONG_AGO))
        holders[number] = [holder for holder in holders[number] if holder.last_sign_at + HOLD > stay.started_at]
        for holder in holders[number]:
            if holder.visitor != stay.visitor:
                mixed = holder.evidence.source.key != stay.evidence.source.key
                holder.shared, holder.mixed = True, holder.mixed or mixed
                stay.shared, stay.mixed = True, stay.mixed or mixed
        holders[number].append(stay)
        turns[number] += 1
        stay.number, stay.turn = number, turns[number]
        last_sign[number] = max(stay.last_sign_at, last_sign.get(number, stay.last_sign_at))
    return stays


def _stay(random: Random, base_url: str, start: datetime, visitor: int, came: Came | None = None) -> Stay:
    _, inclination, query, referrer = came or random.choices(FROM, [weight for weight, _, _, _ in FROM])[0]
    query = query.format(n=random.randrange(10**9))
    page = f"{base_url}/demo/{random.choice(PAGES)}" + (f"?{query}" if query else "")
    lasts = timedelta(seconds=min(random.expovariate(1 / 160) + 8, 1500))
    evidence = read_evidence(page, referrer, {}, lambda host: False)
    ga = {}
    if random.random() < 0.8:
        session = int(start.timestamp())
        ga = {"client_id": f"{random.randrange(10**8, 10**9)}.{session}", "session_id": str(session)}
    return Stay(start, start + lasts, page, referrer, evidence, inclination, visitor, ga)


AREAS = ("212", "312", "408", "510", "628", "650", "707", "831", "925")
WITHHELD_SHARE = 0.05
REPEAT_SHARE = 0.22
PRINT_CALLS = 34

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
    decision: Decision = field(init=False, repr=False)
    stay: Stay | None = None
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
    calls = []
    for stay in stays:
        if random.random() < stay.inclination:
            open_page = random.random() < 0.8
            wait = random.uniform(20, 140) if open_page else random.uniform(300, 4000)
            stays_until = stay.started_at + timedelta(seconds=wait + 30 if open_page else 0)
            stay.last_sign_at = max(stay.last_sign_at, stays_until)
            calls.append(PastCall(stay.started_at + timedelta(seconds=wait), stay.number, _somebody(random)))
    for _ in range(PRINT_CALLS):
        number = random.choices((shop.BILLBOARD, shop.FLYER), (3, 2))[0]
        day = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=random.randrange(DAYS))
        started_at = day + timedelta(seconds=random.gauss(14, 2.5) * 3600)
        calls.append(PastCall(started_at, number, _somebody(random)))
    latest = now - timedelta(hours=1)
    calls = sorted((call for call in calls if call.started_at < latest), key=lambda call: call.started_at)
    # some callers kept the number and call it again
    for index, call in enumerate(calls):
        earlier = [other for other in calls[max(0, index - 30) : index] if other.number == call.number and other.caller]
        if earlier and random.random() < REPEAT_SHARE:
            call.caller = random.choice(earlier).caller
    # the company's lines ring one after the other
    for call in calls:
        _, call.status, ends = random.choices(ENDINGS, [weight for weight, _, _ in ENDINGS])[0]
        at = 0.5
        for (status, answered), to in zip(ends, (shop.COUNTER, shop.WORKSHOP), strict=False):
            rings = {"no_answer": 25.0, "busy": 2.0, "failed": 1.0}.get(status, random.uniform(4, 18))
            line = RungLine(to, status, at + 0.8, at + rings)
            if answered:
                line.answered_at = at + rings
                line.ended_at = line.answered_at + min(30 + random.expovariate(1 / 150), 1500)
            call.lines.append(line)
            at += rings + 0.4
    return calls


def _somebody(random: Random) -> str | None:
    if random.random() < WITHHELD_SHARE:
        return None
    return f"+1{random.choice(AREAS)}55501{random.randrange(100):02d}"


def decide_calls(calls: list[PastCall], stays: list[Stay]) -> None:
    """R7 over the company's past, the oldest call first. The ids of first calls are not known yet."""
    by_visit, leases = {stay.visit_id: stay for stay in stays}, dict[str, list[Stay]]()
    for stay in stays:
        leases.setdefault(stay.number, []).append(stay)
    first_calls: dict[tuple[str, str], PastCall] = {}
    for call in calls:
        leased = leases.get(call.number, [])
        last = bisect_right(leased, call.started_at, key=lambda stay: stay.started_at)
        candidates = [
            Candidate(
                visit_id=stay.visit_id,
                visit=stay.visit_number,
                source_key=stay.evidence.source.key,
                leased_at=stay.started_at,
                last_sign_at=stay.last_sign_at,
                visitor=str(stay.visitor),
            )
            for stay in leased[max(0, last - USUAL_REACH.leases) : last]
        ]
        weighed = weigh(candidates, HOLD, call.started_at, earlier=len(candidates) == USUAL_REACH.leases)
        call.earlier = first_calls.get((call.number, call.caller)) if call.caller else None
        first = None
        if call.earlier is not None:
            decided = call.earlier.decision
            known = (
                decided.visit_id,
                decided.source,
                decided.source_key,
                decided.confidence,
                decided.source_confidence,
            )
            first = EarlierCall(0, call.earlier.started_at, *known)
        static = static_source(call.number).as_dict() if call.number in (shop.BILLBOARD, shop.FLYER) else None
        sources = {stay.visit_id: stay.evidence.source.as_dict() for stay in leased[:last]}
        call.decision = decide(first, static, weighed, sources)
        call.stay = by_visit.get(call.decision.visit_id or 0)
        if call.caller is not None:
            first_calls.setdefault((call.number, call.caller), call)
