"""Time zones as call logs name them: offsets, abbreviations, names of the IANA, and the labels of Rails and Windows."""

import re
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from router.voice.importing.columns import folded

_HOURS: dict[float, str] = {
    0: "utc gmt ut z wet zulu",
    1: "cet mez met west bst",
    2: "cest mesz mest eet sast",
    3: "eest msk мск trt",
    8: "awst hkt sgt",
    9: "jst kst",
    9.5: "acst",
    10: "aest",
    10.5: "acdt",
    11: "aedt",
    12: "nzst",
    13: "nzdt",
    -2.5: "ndt",
    -3: "adt brt art",
    -3.5: "nst",
    -4: "edt ast",
    -5: "est cdt",
    -6: "cst mdt",
    -7: "mst pdt",
    -8: "pst akdt",
    -9: "akst",
    -10: "hst",
}
ABBREVIATIONS = {
    name: timezone(timedelta(hours=hours), name.upper()) for hours, names in _HOURS.items() for name in names.split()
}
"""The abbreviations of RFC 5322, and others that only one part of the world uses. `IST` is three zones: it is read only where the log's
own zone has it."""

_LABELS = {
    "et eastern easterntime easterntimeuscanada easternstandardtime useastern": "America/New_York",
    "ct central centraltime centraltimeuscanada centralstandardtime uscentral": "America/Chicago",
    "mt mountain mountaintime mountaintimeuscanada mountainstandardtime usmountain": "America/Denver",
    "pt pacific pacifictime pacifictimeuscanada pacificstandardtime uspacific": "America/Los_Angeles",
    "arizona usmountainstandardtime": "America/Phoenix",
    "alaska alaskanstandardtime": "America/Anchorage",
    "hawaii hawaiianstandardtime": "Pacific/Honolulu",
    "atlantictimecanada atlanticstandardtime": "America/Halifax",
    "newfoundland newfoundlandstandardtime": "America/St_Johns",
    "gmtstandardtime": "Europe/London",
    "weuropestandardtime": "Europe/Berlin",
    "romancestandardtime": "Europe/Paris",
    "centraleuropestandardtime": "Europe/Budapest",
    "centraleuropeanstandardtime centraleuropeantime mitteleuropaischezeit": "Europe/Warsaw",
    "fleestandardtime kyiv": "Europe/Kyiv",
    "gtbstandardtime": "Europe/Bucharest",
    "russianstandardtime москва московскоевремя": "Europe/Moscow",
    "turkeystandardtime": "Europe/Istanbul",
    "indiastandardtime newdelhi mumbai": "Asia/Kolkata",
    "auseasternstandardtime": "Australia/Sydney",
    "newzealandstandardtime": "Pacific/Auckland",
}
LABELS = {label: zone for labels, zone in _LABELS.items() for label in labels.split()}

OFFSET = re.compile(r"(?:utc|gmt|ut)?\s*([+-])(\d{1,2})(?::?([0-5]\d))?(?::?00)?(?!\d)")
HALF_HOURS_BEHIND = [-timedelta(hours=hours, minutes=30) for hours in (2, 3, 4, 9)]
_AREA = re.compile(r"[a-z]+(?:/[a-z0-9_+\-]+)+")


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """IANA's names by their folded form, and the cities of them that are in one zone only: `berlin` is Europe/Berlin."""
    known = {folded(name): name for name in available_timezones()}
    cities: dict[str, list[str]] = {}
    for name in known.values():
        if name.count("/") == 1 and not name.startswith(("Etc/", "US/", "Canada/", "Brazil/", "Mexico/", "Chile/")):
            cities.setdefault(folded(name.split("/")[1].replace("_", " ")), []).append(name)
    return {city: names[0] for city, names in cities.items() if len(names) == 1} | known


@lru_cache(maxsize=1)
def _used_abbreviations() -> frozenset[str]:
    """Those that some zone of the world has in winter or in summer."""
    seasons = (datetime(2026, 1, 1), datetime(2026, 7, 1))  # noqa: DTZ001 - each zone's own clock
    names = {ZoneInfo(zone).tzname(season) for zone in available_timezones() for season in seasons}
    return frozenset(folded(name) for name in names if name and name.isalpha())


def is_abbreviation(text: str) -> bool:
    """Whether folded letters stand for one time zone or several."""
    return text in ABBREVIATIONS or (text.isalpha() and 2 <= len(text) <= 5 and text in _used_abbreviations())


def offset_of(sign: str, hours: str, minutes: str | None) -> tzinfo | None:
    """None: there is no such zone in the world; `10:05-10:30` is a span of time."""
    span = timedelta(hours=int(hours), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    if not timedelta(hours=-12) <= span <= timedelta(hours=14) or int(minutes or 0) % 15:
        return None
    if sign == "-" and int(minutes or 0) and span not in HALF_HOURS_BEHIND:
        return None
    return timezone(span)


@lru_cache(maxsize=2048)
def read_zone(text: str) -> tzinfo | None:
    """The zone that a column, a head or a person names; None when it is none that we know.

    `(GMT+01:00) Berlin` is Europe/Berlin: the city knows of summer time. `GMT+1` alone is one hour ahead of UTC, always.
    """
    text = folded(text).strip(" ()[].,;:")
    if not text:
        return None
    names = _names()
    if text.replace(" ", "_") in names:
        return ZoneInfo(names[text.replace(" ", "_")])
    if text in ABBREVIATIONS:
        return ABBREVIATIONS[text]
    label = re.sub(r"[\W_]+", "", text)
    if label in LABELS:
        return ZoneInfo(LABELS[label])
    if found := OFFSET.match(text):
        offset, rest = offset_of(*found.groups()), text[found.end() :].strip(" ()[].,;:-")
        if not rest or offset is None:
            return offset
        for part in (rest, *re.split(r"\s*[,;/]\s*", rest)):
            if zone := read_zone(part):
                return zone
        return None
    if area := _AREA.search(text):
        return ZoneInfo(names[area.group()]) if area.group() in names and area.group() != text else None
    return ZoneInfo(names[text]) if text in names else None


def named_in(name: str, moment: datetime, zone: tzinfo) -> datetime | None:
    """A local moment whose zone is abbreviated, with its zone: the log's own when it has that abbreviation then, else the world's."""
    for fold in (0, 1):
        here = moment.replace(tzinfo=zone, fold=fold)
        if (here.tzname() or "").casefold() == name:
            return here
    known = ABBREVIATIONS.get(name)
    return moment.replace(tzinfo=known) if known else None
