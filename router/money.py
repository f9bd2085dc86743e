"""Money is an integer of minor units with a currency; how many digits those have, how it is said, and how it is read."""

import re
from decimal import Decimal

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


def say_money(minor: int, currency: str) -> str:
    """`1,234.50 EUR`, `-3 JPY`."""
    digits = CURRENCIES.get(currency, 2)
    return f"{minor / 10**digits:,.{digits}f} {currency}"


def say_change(minor: int, currency: str) -> str:
    """As money, with its sign: `+12.00 EUR`, `−3.00 EUR`."""
    return ("−" if minor < 0 else "+") + say_money(abs(minor), currency)


def plain_money(minor: int, currency: str) -> str:
    """For programs: `1234.50`."""
    return str(Decimal(minor).scaleb(-CURRENCIES.get(currency, 2)))


def read_money(text: str, currency: str) -> int:
    """Minor units of what a person typed: `12`, `12.50`, `12,50`, `-3`; no thousands separators.

    Raises:
        ValueError: it is no such amount; the sentence says how to write one.
    """
    digits = CURRENCIES.get(currency, 2)
    found = AMOUNT.fullmatch("".join(text.split()).replace("−", "-"))
    if found is None or len(found["fraction"] or "") > digits or (found["point"] == "," and digits == 3):
        raise ValueError(f"Write an amount like {plain_money(12 * 10**digits + 5 * 10**digits // 10, currency)}.")
    minor: int = int(found["whole"]) * 10**digits + int((found["fraction"] or "").ljust(digits, "0") or "0")
    return -minor if found["sign"] == "-" else minor


AMOUNT = re.compile(r"(?P<sign>[+-]?)(?P<whole>[0-9]{1,13})(?:(?P<point>[.,])(?P<fraction>[0-9]{1,3}))?")
