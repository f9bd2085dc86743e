"""Times, durations, counts, shares, amounts of money and countries as people read them, amounts as people write them, and the days of a
project's time zone: days of 23 and 25 hours are as long as they are.
Money is an integer of minor units with a currency of ISO 4217. CLDR, which Babel has, gives 15 of those currencies no digits where
ISO 4217 has them (HUF, COP, IDR), so the digits stand here.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

import phonenumbers


def format_moment(moment: datetime, zone: str, now: datetime) -> str:
    """`today 14:32`, `yesterday 09:05`, `Mon 3 Nov, 09:05`; with the year when it is another one."""
    here, today = moment.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)).date()
    if here.date() == today:
        return f"today {here:%H:%M}"
    if here.date() == today - timedelta(days=1):
        return f"yesterday {here:%H:%M}"
    year = "" if here.year == today.year else f" {here.year}"
    return f"{here:%a} {here.day} {here:%b}{year}, {here:%H:%M}"


def format_exact_moment(moment: datetime, zone: str) -> str:
    """`Monday 3 November 2026, 09:05:17 CET`"""
    here = moment.astimezone(ZoneInfo(zone))
    return f"{here:%A} {here.day} {here:%B %Y, %H:%M:%S %Z}"


def format_day(moment: datetime, zone: str) -> str:
    """`3 Nov 2026`"""
    here = moment.astimezone(ZoneInfo(zone))
    return f"{here.day} {here:%b %Y}"


def format_duration(seconds: float) -> str:
    """`45 s`, `1 min 12 s`, `2 h 5 min`, `3 days 4 h`; the two largest units at most."""
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in ((86400, "day"), (3600, "h"), (60, "min"), (1, "s")):
        amount, left = divmod(left, size)
        if amount or (parts and unit != "day"):
            parts.append((amount, f"{unit}s" if unit == "day" and amount != 1 else unit))
    return " ".join(f"{amount} {unit}" for amount, unit in parts[:2] if amount) or "0 s"


def format_count(amount: int, one: str, many: str | None = None) -> str:
    """`1 call`, `1,204 calls`, `0 calls`."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def format_percent(share: float) -> str:
    """0.873 as `87 %`, rounded down: only all is 100 %, and what is not nothing is never 0 %."""
    return "under 1 %" if 0 < share < 0.01 else f"{int(share * 100 + 1e-9)} %"


_BY_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP"
    " CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES"
    " KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK"
    " NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB"
    " TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
}
CURRENCIES = {code: digits for digits, codes in _BY_DIGITS.items() for code in codes.split()}
"""ISO 4217: code to the number of digits after the point."""


def format_money(minor: int, currency: str) -> str:
    """`1,234.50 EUR`, `-3 JPY`."""
    digits = CURRENCIES.get(currency, 2)
    return f"{minor / 10**digits:,.{digits}f} {currency}"


def format_change(minor: int, currency: str) -> str:
    """As money, with its sign: `+12.00 EUR`, `−3.00 EUR`."""
    return ("−" if minor < 0 else "+") + format_money(abs(minor), currency)


def plain_money(minor: int, currency: str) -> str:
    """For programs: `1234.50`."""
    return str(Decimal(minor).scaleb(-CURRENCIES.get(currency, 2)))


def parse_money(text: str, currency: str) -> int:
    """Minor units of what a person typed: `12`, `12.50`, `12,50`, `-3`; no thousands separators.

    Raises:
        ValueError: it is no such amount; the sentence says how to write one.
    """
    digits = CURRENCIES.get(currency, 2)
    amount = AMOUNT.fullmatch("".join(text.split()).replace("−", "-"))
    if amount is None or len(amount["fraction"] or "") > digits or (amount["point"] == "," and digits == 3):
        raise ValueError(f"Write an amount like {plain_money(12 * 10**digits + 5 * 10**digits // 10, currency)}.")
    minor: int = int(amount["whole"]) * 10**digits + int((amount["fraction"] or "").ljust(digits, "0") or "0")
    return -minor if amount["sign"] == "-" else minor


GREATEST_ID = 2**63 - 1
"""The greatest number that an id in the database can have."""


def parse_int(text: str, least: int = 0, greatest: int = GREATEST_ID) -> int | None:
    """The whole number of an address or a form, in ASCII digits; None when it is no such number or outside the bounds."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    number = int(text)
    return number if least <= number <= greatest else None


AMOUNT = re.compile(r"(?P<sign>[+-]?)(?P<whole>[0-9]{1,13})(?:(?P<point>[.,])(?P<fraction>[0-9]{1,3}))?")


def parse_country(text: str) -> str:
    """A country's code in capitals.

    Raises:
        ValueError: it has not two letters.
    """
    if not (len(text) == 2 and text.isascii() and text.isalpha()):
        raise ValueError("Write the country's code of two letters, like DE.")
    return text.upper()


def country_name(code: str) -> str:
    """`United States`; an unknown code stays as it is."""
    return _territories().get(code, code)


def named_countries(codes: Iterable[str] = phonenumbers.SUPPORTED_REGIONS) -> list[tuple[str, str]]:
    """Code and name of countries, in the order of the names; without codes of every country with telephone numbers."""
    return sorted(((code, country_name(code)) for code in codes), key=lambda country: country[1])


@cache
def _territories() -> Mapping[str, str]:
    """CLDR's English names, loaded when the first country is named."""
    from babel import Locale

    return Locale("en").territories


def date_of(at: datetime, zone: str) -> date:
    """The day on which a moment lies in a time zone."""
    return at.astimezone(ZoneInfo(zone)).date()


def day_of(at: datetime, zone: str) -> str:
    """The same as text: `2026-11-23`."""
    return date_of(at, zone).isoformat()


def start_of(day: date, zone: str) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(zone))


def span_of(day: str, zone: str) -> tuple[datetime, datetime]:
    """The start of a day and of the next one."""
    first = date.fromisoformat(day)
    return start_of(first, zone), start_of(first + timedelta(days=1), zone)


def last_dates(now: datetime, zone: str, count: int) -> list[date]:
    """The oldest first, today last."""
    today = date_of(now, zone)
    return [today - timedelta(days=back) for back in range(count - 1, -1, -1)]


def last_days(now: datetime, zone: str, count: int) -> list[str]:
    return [day.isoformat() for day in last_dates(now, zone, count)]


def last_starts(now: datetime, zone: str, count: int) -> list[datetime]:
    return [start_of(day, zone) for day in last_dates(now, zone, count)]


def days_before(at: datetime, zone: str, count: int) -> datetime:
    """The same time of day, some days earlier."""
    here = at.astimezone(ZoneInfo(zone))
    return datetime.combine(here.date() - timedelta(days=count), here.time(), ZoneInfo(zone))
