"""Three weeks of visitors of the example shop: where they came from, when, for how long, and which number each was lent."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from router.attribution.sources import Evidence, read_evidence
from router.demo import shop

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
