"""One telephone line, several spellings: which E.164 numbers belong to the same line.

Some countries write a mobile number with and without a digit, some changed their numbering plan and the old form is still sent by
carriers and stands in address books, and a few territories are reached under two country codes. Two spellings are the same caller.
The stored number is never rewritten: it is what the carrier can dial."""

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class DoubleSpelling:
    """A rule of one country. `other` is the old or second spelling, `usual` the spelling that both are folded to.

    Both are regular expressions over the whole E.164 number, with the groups that the two templates put together again.
    """

    country: str
    other: re.Pattern[str]
    to_usual: str
    usual: re.Pattern[str]
    to_other: str
    source: str


def _rule(country: str, other: str, to_usual: str, usual: str, to_other: str, source: str) -> DoubleSpelling:
    return DoubleSpelling(country, re.compile(other, re.ASCII), to_usual, re.compile(usual, re.ASCII), to_other, source)


_IVORY_COAST = "ARTCI, 31 January 2021: eight digits become ten, the operator's two digits are put in front"
_VIETNAM = "Ministry of Information and Communications, 15 September to 14 November 2018: mobile numbers of eleven digits become ten"
_GABON = "ARCEP Gabon, 29 June 2019: the operator's digit is put in front of seven digits"

# without 144, 163, 164, 166, 178, 199 (shared cost) and 43 with eight digits (mailboxes), which have no 0
_ITALIAN_FIXED_LINE = r"(?:[269]|1(?!44|6[346]|78|99)|4(?!3\d{8}$))\d{5,9}"

# Vietnam: what stands before the last seven digits, before and after
_VIETNAM_BLOCKS = {f"16{digit}": f"3{digit}" for digit in "23456789"} | {
    "120": "70", "121": "79", "122": "77", "126": "76", "128": "78",
    "123": "83", "124": "84", "125": "85", "127": "81", "129": "82",
    "186": "56", "188": "58", "199": "59",
}  # fmt: skip

DOUBLE_SPELLINGS: tuple[DoubleSpelling, ...] = (
    _rule(
        "MX", r"\+521([2-9]\d{9})", r"+52\1", r"\+52([2-9]\d{9})", r"+521\1",
        "IFT, 3 August 2019: the 1 before mobile numbers is dropped; some carriers still send it",
    ),
    _rule(
        "AR", r"\+549([1-8]\d{9})", r"+54\1", r"\+54([1-8]\d{9})", r"+549\1",
        "ENACOM: 9 stands before a mobile number that is called from abroad; caller IDs come with and without it",
    ),
    _rule(
        "BR", r"\+55([1-9]\d)([689]\d{7})", r"+55\g<1>9\2", r"\+55([1-9]\d)9([689]\d{7})", r"+55\1\2",
        "Anatel, 2012 to 6 November 2016: a 9 is put before mobile numbers of eight digits, not before trunked radio (7)",
    ),
    *(
        _rule(
            "CI", rf"\+225({old})", rf"+225{new}\1", rf"\+225{new}({old})", r"+225\1", _IVORY_COAST,
        )
        for old, new in (
            (r"[014-9][789]\d{6}", "07"), (r"[014-9][456]\d{6}", "05"), (r"[014-9][0-3]\d{6}", "01"),
            (r"[23]\d8\d{5}", "21"), (r"[23]\d0\d{5}", "25"), (r"[23]\d[1-79]\d{5}", "27"),
        )
    ),
    _rule(
        "BJ", r"\+229([2-9]\d{7})", r"+22901\1", r"\+22901([2-9]\d{7})", r"+229\1",
        "ARCEP Bénin, 30 November 2024: 01 is put before eight digits",
    ),
    _rule(
        "CO", r"\+57((?!46)[124-8]\d{7})", r"+5760\1", r"\+5760((?!46)[124-8]\d{7})", r"+57\1",
        "CRC, 1 September 2021: 60 is put before fixed lines",
    ),
    *(
        _rule("GA", rf"\+241({old}\d{{6}})", rf"+241{put}\1", rf"\+241{put}({old}\d{{6}})", r"+241\1", _GABON)
        for old, put in (("1", "1"), ("2", "6"), ("4", "7"), ("5", "6"), ("6", "6"), ("7", "7"))
    ),
    *(
        _rule("VN", rf"\+84{old}(\d{{7}})", rf"+84{new}\1", rf"\+84{new}(\d{{7}})", rf"+84{old}\1", _VIETNAM)
        for old, new in _VIETNAM_BLOCKS.items()
    ),
    _rule(
        "PS", r"\+972(5[69]\d{7})", r"+970\1", r"\+970(5[69]\d{7})", r"+972\1",
        "ITU-T and the Palestinian operators: mobile numbers 056 and 059 are reached under +970 and +972",
    ),
    _rule(
        "SM", r"\+390549(\d{6})", r"+3780549\1", r"\+3780549(\d{6})", r"+390549\1",
        "San Marino's fixed lines are reached under +378 and, through Italy, under +39 0549",
    ),
    _rule(
        "SM", r"\+378([89]\d{5})", r"+3780549\1", r"\+3780549([89]\d{5})", r"+378\1",
        "libphonenumber: the 0549 of San Marino's fixed lines is often left out",
    ),
    _rule(
        "IT", rf"\+39({_ITALIAN_FIXED_LINE})", r"+390\1", rf"\+390({_ITALIAN_FIXED_LINE})", r"+39\1",
        "Since 1998 the 0 of an Italian fixed line belongs to the number; other countries' exchanges drop it",
    ),
)  # fmt: skip


MOST_SPELLINGS = 4


@lru_cache(maxsize=20_000)
def line_of(e164: str) -> str:
    """The folded form: one value for all spellings of one line. For comparing only, never for dialling."""
    for rule in DOUBLE_SPELLINGS:
        if rule.other.fullmatch(e164):
            return rule.other.sub(rule.to_usual, e164)
    return e164


@lru_cache(maxsize=20_000)
def spellings_of_line(e164: str) -> tuple[str, ...]:
    """Every E.164 spelling of the line, this one first, MOST_SPELLINGS at most: for look-ups by index (`caller IN (…)`)."""
    usual = line_of(e164)
    spellings = dict.fromkeys([e164, usual])
    for rule in DOUBLE_SPELLINGS:
        if rule.usual.fullmatch(usual):
            other = rule.usual.sub(rule.to_other, usual)
            if line_of(other) == usual:
                spellings[other] = None
    return tuple(spellings)


def same_line(number: str | None, other: str | None) -> bool:
    """Whether both are spellings of one line; None (withheld, unknown) is nobody's."""
    return number is not None and other is not None and line_of(number) == line_of(other)
