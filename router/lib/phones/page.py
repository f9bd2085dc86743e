"""Numbers on web pages: which digits the tag looks for, which number a text can be, and ours in each form that a text may have; by what
phonenumbers' metadata say of a country's numbering plan.

The tag knows no country: all it compares comes from here with each answer. docs/numbers.md has the contract and a table of cases."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import groupby

import phonenumbers
from phonenumbers import NumberFormat, NumberParseException, PhoneMetadata

from router.lib.phones.lines import spellings_of_line
from router.lib.phones.reading import readings_of
from router.lib.phones.showing import area_digits, display, international, is_domestic, national, parsed, reaches, usual

MOST_DIGITS = 15
LONGEST_NATIONAL = 12
"""National digits of the longest number that is looked for: two short ones in a row are not one."""
LEAST_DIGITS = 6
"""National digits of the shortest one, unless all numbers of a country are shorter. German postcodes have five (01067)."""
MOST_LENGTHS = 4
"""Of the numbers of a country in which the length of a number tells a whole one from a local one."""
LONGEST_PATTERN = 150
"""Characters that the beginning of a kind of numbers may take; China's are left out."""
OLD_TRUNKS = {"MX": ("01", "044", "045"), "LT": ("8",), "BY": ("80", "0"), "CL": ("0",), "PL": ("0",), "CZ": ("0",)}
"""Trunk prefixes that stand on pages besides the country's own: abolished, or written together with the area code."""


class Plan:
    """What a country's numbering plan says of written numbers."""

    def __init__(self, region: str, metadata: PhoneMetadata) -> None:
        general = metadata.general_desc
        self.region, self.code = region, str(metadata.country_code)
        self.pattern = (general.national_number_pattern if general else "") or ""
        """A regular expression of its national digits."""
        self.lengths = tuple(general.possible_length) if general else ()
        self.local_lengths = tuple(general.possible_length_local_only) if general else ()
        self.trunk = metadata.national_prefix or ""
        """Its trunk prefix; empty where it has none."""
        self.trunks = sorted({self.trunk, *OLD_TRUNKS.get(region, ())} - {"", self.code}, key=len, reverse=True)
        """Trunk prefixes as they are written before national digits, the longest first; the country code (1 in America) is none."""
        self.has_trunk = self.trunk not in ("", self.code)
        """Whether digits without a trunk prefix are no complete national number."""
        self.prefix = metadata.international_prefix or ""
        """A regular expression of its international prefixes."""
        self.shown_prefix = metadata.preferred_international_prefix or (self.prefix if self.prefix.isdigit() else "")
        """The usual one of them, as it is written (`8~10`); empty where it depends on the carrier."""
        self.formats: list[NumberFormat] = metadata.number_format

    @classmethod
    @cache
    def of(cls, region: str) -> "Plan":
        """Of a region.

        Raises:
            LookupError: phonenumbers does not know it.
        """
        metadata = PhoneMetadata.metadata_for_region(region, None)
        if metadata is None:
            raise LookupError(region)
        return cls(region, metadata)

    @classmethod
    def of_code(cls, code: int, region: str | None = None) -> "Plan":
        """Of this region if it has the country code, else of the code's main region, or of a service without a country (+800)."""
        if region and phonenumbers.country_code_for_region(region) == code:
            return cls.of(region)
        main = phonenumbers.region_code_for_country_code(code)
        if main not in ("001", "ZZ"):
            return cls.of(main)
        metadata = PhoneMetadata.metadata_for_nongeo_region(code, None)
        if metadata is None:
            raise LookupError(code)
        return cls("001", metadata)

    @property
    def prefixes(self) -> Sequence[str]:
        """The digits of its usual international prefix."""
        return [re.sub("[^0-9]", "", self.shown_prefix)] if self.shown_prefix else []

    @property
    def least(self) -> int:
        return LEAST_DIGITS if max(self.lengths) >= LEAST_DIGITS else min(self.lengths)

    def national(self, least: int = 0, more: int = 0) -> str:
        """A regular expression of as many digits as its national numbers have; a zero at their beginning is a trunk prefix."""
        most = min(LONGEST_NATIONAL, MOST_DIGITS - len(self.code))
        lengths = [length for length in self.lengths if max(least, 4) <= length <= most]
        lengths = lengths or list(range(LEAST_DIGITS, most + 1))
        digits = digits_of([*lengths, *range(lengths[-1] + 1, lengths[-1] + 1 + more)])
        return f"(?!0){digits}" if self.trunk == "0" else digits

    def whole(self, *, local: bool) -> Sequence[str]:
        """Regular expressions of the digits that the country writes without its trunk prefix: numbers that have none (1300 123 456 in
        Australia), or local ones, which have no area code."""
        return [pattern for pattern, is_local in self._without_trunk if is_local == local]

    @cached_property
    def _without_trunk(self) -> Sequence[tuple[str, bool]]:
        patterns = []
        for form in self.formats:
            if self.trunk in re.sub(r"\\\d", "", form.national_prefix_formatting_rule or ""):
                continue
            begin = form.leading_digits_pattern[-1] if form.leading_digits_pattern else ""
            counts = [count.split(",") for count in re.findall(r"\\d\{([\d,]+)\}|\\d", form.pattern or "")]
            least, most = (sum(int(count[place] or 1) for count in counts) for place in (0, -1))
            if most >= self.least and len(begin) < LONGEST_PATTERN:
                pattern = f"(?={begin}){digits_of(range(max(least, self.least), most + 1))}"
                patterns.append((pattern, not any(length in self.lengths for length in range(least, most + 1))))
        return patterns


def any_of(patterns: Iterable[str]) -> str:
    """A regular expression of any of these, beside which others may stand."""
    joined = "|".join(patterns)
    return f"(?:{joined})" if "|" in joined else joined


def digits_of(lengths: Iterable[int]) -> str:
    """A regular expression of so many digits: `\\d{4,6}`, `(?:\\d{7}|\\d{9,10})`."""
    neighbours = groupby(enumerate(sorted(set(lengths))), key=lambda place: place[1] - place[0])
    rows = [[length for _, length in row] for _, row in neighbours]
    return any_of(rf"\d{{{row[0]}{f',{row[-1]}' if row[-1] > row[0] else ''}}}" for row in rows)


WITH_CARRIER = ("AR", "BO", "BR", "CO", "KR")
"""Where up to two digits more stand in a national number: a long-distance carrier (0 15 11 …), Argentina's 15 of mobile numbers."""
FOREIGN_PREFIXES = ("00", "011")
"""International prefixes that stand on pages of every country, for readers abroad."""
WEAK = "weak"

Form = tuple[str, str] | tuple[str, str, str]


def spellings(numbers: Iterable[str], country: str | None) -> list[str]:
    """The digits of every usual spelling of these numbers, behind a `+` where there is one.

    `8 (495) 123-45-67` gives `+74951234567`, `74951234567`, `84951234567`, `4951234567`, `0074951234567` and more. A number that has two
    readings gives those of both. What is no phone number (a short number) stays as its digits.
    """
    written: list[str] = []
    for text in numbers:
        readings = readings_of(text, country)
        if not readings:  # behind a trunk prefix that its country has no more: `0 22 123 45 67` in Poland
            dialled = re.sub("[^0-9]", "", text)
            trunks = [trunk for trunk in OLD_TRUNKS.get(country or "", ()) if dialled.startswith(trunk)]
            without = (readings_of(dialled.removeprefix(trunk), country) for trunk in trunks)
            readings = next(filter(None, without), ())
        if not readings:
            with suppress(NumberParseException):
                possible = phonenumbers.parse(text, country or None)
                if phonenumbers.is_possible_number(possible):
                    readings = (phonenumbers.format_number(possible, phonenumbers.PhoneNumberFormat.E164),)
        for line in (line for reading in readings for line in spellings_of_line(reading)):
            number = phonenumbers.parse(line, None)
            plan = Plan.of_code(number.country_code or 0, country)
            digits = phonenumbers.national_significant_number(number)
            trunks = ["", *plan.trunks]
            written += [f"+{plan.code}{trunk}{digits}" for trunk in trunks]
            written.append(f"{plan.code}{digits}")
            written += [f"{trunk}{digits}" for trunk in [*plan.trunks, ""]]
            written.append(re.sub("[^0-9]", "", national(line)))
            written += [f"{plan.code}{trunk}{digits}" for trunk in plan.trunks]
            prefixes = dict.fromkeys([*FOREIGN_PREFIXES, *plan.prefixes])
            written += [f"{prefix}{plan.code}{trunk}{digits}" for prefix in prefixes for trunk in trunks]
        written.append(re.sub(r"(?!^\+)\D", "", text.strip()))
    return list(dict.fromkeys(filter(None, written)))


def forms(e164: str, country: str | None, mask: str = "") -> list[Form]:
    """Which texts can be a phone number here, and what stands in the place of each: `(pattern, shown)`, the first one that fits counts.

    `pattern` is a regular expression (of JavaScript and of Python) over the whole of two lines: the digits of the text, behind a `+` if it
    has one; and its digits with `+` and brackets. Where its group is there, `shown` may be written with the separators of the text, if both
    have as many digits. A third element, `weak`, says that the text is a number only if there is no better one beside it: it has no country
    code, and no trunk prefix where the country has one.

    Args:
        country: the project's, in which the page is read; None: the number's own.
        mask: the scenario's display format, in which the number is shown everywhere.
    """
    try:
        number = parsed(e164)
    except NumberParseException:
        return [(r"\+?\d{7,15}\n.*", e164)]
    entries = _OfNumber(e164, number, country or None).all()
    if mask.strip():
        shown = display(e164, mask, country)
        entries = (replace(entry, shown=shown, kept="") for entry in entries if not entry.only_kept)
    joined: list[Form] = []  # entries in a row that show the same become one
    for (shown, kept, weak), same in groupby(entries, key=lambda entry: (entry.shown, entry.kept, entry.weak)):
        digits = any_of(dict.fromkeys(entry.digits for entry in same))
        second = f"(?:({kept})|.*)" if kept else ".*"
        pattern = rf"{digits}\n{second}"
        joined.append((pattern, shown, WEAK) if weak else (pattern, shown))
    return joined


@dataclass(frozen=True)
class _Entry:
    """`digits`: a pattern of the first line. `kept`: one of the second line, with which `shown` keeps the text's separators."""

    digits: str
    shown: str
    kept: str = ""
    weak: bool = False
    only_kept: bool = False
    """Whether another second line is another form."""


class _OfNumber:
    """The forms of one number on the pages of one country."""

    def __init__(self, e164: str, number: phonenumbers.PhoneNumber, country: str | None) -> None:
        self.e164, self.country = e164, country
        self.own = Plan.of_code(number.country_code or 0, country)
        self.is_domestic = is_domestic(e164, country)
        is_abroad = country in phonenumbers.SUPPORTED_REGIONS and not self.is_domestic
        self.home = Plan.of(str(country)) if is_abroad else self.own
        """Of the country in which the page is read."""
        self.digits = phonenumbers.national_significant_number(number)
        self.international = international(e164)
        self.usual = usual(e164, country)
        self.lead = re.sub("[^0-9]", "", national(e164)).removesuffix(self.digits)
        """The trunk prefix that its national form begins with."""
        self.rest = self.international.removeprefix(f"+{self.own.code}").strip(" -")
        """The international form without `+` and country code."""
        self.area = area_digits(e164)
        """Digits of its area code; 0 where it has none."""

    def kept(self, prefix: str) -> str:
        """Second lines in which brackets hold nothing but a prefix or an area code, so that ours fits in."""
        return rf"\D?{prefix}\D?(?:\D?\d{{{self.area}}}\D)?\d+" if self.area else ".+"

    def reached_by(self, shown: str) -> bool:
        return reaches(shown, self.e164, self.country)

    def all(self) -> Iterator[_Entry]:
        plus = rf"\+{self.own.code}"
        yield from self.bracketed(r"\+?", "+")
        yield _Entry(plus + self.own.national(), self.international, self.kept(plus))
        yield _Entry(r"\+\d{8,15}", self.international)
        prefixes = {self.home.prefix: self.home.shown_prefix, "00": "00"} | ({} if self.is_domestic else {"011": "011"})
        for prefix, shown_prefix in prefixes.items():
            yield from self.with_prefix(prefix, shown_prefix)
        yield from self.with_code_only()
        yield from self.domestic() if self.is_domestic else self.foreign()
        if "011" not in prefixes:
            yield from self.with_prefix("011", "011")
        yield _Entry("0{6,14}|1{6,14}|11?234567890", self.usual, ".+", weak=True)
        yield _Entry(r"(?=.*\n\d{0,3}\(\d{2,5}\)\d{5,9}$)\d+", self.usual, weak=True)

    def bracketed(self, prefix: str, shown_prefix: str) -> Iterator[_Entry]:
        """`+49 (0)30 …`, where the number has a trunk prefix."""
        code, trunk = self.own.code, self.own.trunk
        shown = f"{code} ({trunk}){self.rest}"
        if self.own.has_trunk and self.lead == trunk and self.reached_by(f"+{shown}"):
            second = rf"\D?{prefix}{code}\D?\D{trunk}\D{self.own.national()}"
            yield _Entry(rf"(?=.*\n{second}$)\+?\d+", shown_prefix + shown, ".+", only_kept=True)

    def with_prefix(self, prefix: str, shown_prefix: str) -> Iterator[_Entry]:
        """`0049 30 …`, `011 49 30 …`; where the prefix depends on the carrier, the international form."""
        code, written = self.own.code, any_of([prefix])
        shown = f"{shown_prefix}{'' if shown_prefix == '00' else ' '}{code} {self.rest}"
        if not prefix:
            return
        if not shown_prefix or not self.reached_by(shown):
            yield _Entry(rf"{written}[1-9]\d{{7,14}}", self.international)
            return
        if shown_prefix == "00":
            yield from self.bracketed(written, shown_prefix)
        yield _Entry(f"{written}{code}{self.own.national()}", shown, self.kept(f"{written}{code}"))
        if prefix in (self.home.prefix, "00"):
            yield _Entry(rf"{written}[1-9]\d{{7,14}}", shown)

    def with_code_only(self) -> Iterator[_Entry]:
        """`49 30 …` and `49 030 …`; `1 415 …`, which is a national form as well."""
        code, trunk = self.own.code, self.own.trunk
        bare = f"{code} {self.rest}"
        kept = self.kept(code) if self.reached_by(bare) else ""
        weak = any(len(code) + length in self.own.lengths for length in self.own.lengths)
        shown = bare if trunk == code and kept else self.international
        national = self.own.national(self.own.least)
        yield _Entry(f"{code}{national}", shown, kept, weak)
        if self.own.has_trunk:
            yield _Entry(f"{code}{trunk}{national}", self.international, weak=weak)

    def domestic(self) -> Iterator[_Entry]:
        """`030 …`, `30 …`, and the local number."""
        plan, trunks = self.own, any_of(self.own.trunks)
        if trunks:
            kept = self.kept(trunks) if self.lead in plan.trunks else ""
            more = 2 if plan.region in WITH_CARRIER else 0
            yield _Entry(trunks + plan.national(plan.least, more), self.usual, kept)
        whole = plan.whole(local=False)
        if self.lead and whole:
            yield _Entry("|".join(whole), self.usual)
        least, most = plan.least, MOST_DIGITS
        if (
            self.lead and len(plan.lengths) > MOST_LENGTHS
        ):  # a number's length says nothing of whether it is a whole one
            least, most = max(least, len(self.digits) - 2), len(self.digits) + 2
        plain = self.rest if self.lead else self.usual
        kept, plain = (self.kept(""), plain) if self.reached_by(plain) else ("", self.usual)
        yield _Entry(rf"(?=\d{{{least},{most}}}\n)(?:{plan.pattern})", plain, kept, bool(self.lead))
        shorter = {length for length in plan.lengths if length < least} | set(plan.local_lengths)
        lengths = {length for length in shorter if length >= plan.least}
        no_trunk = f"(?![0{plan.trunk}])"
        if local := [*([no_trunk + digits_of(lengths)] if lengths else []), *plan.whole(local=True)]:
            yield _Entry("|".join(local), self.usual, weak=True)

    def foreign(self) -> Iterator[_Entry]:
        """National numbers of the page's country, in whose place ours from abroad stands; then those of the country of ours, on a page
        that shows them."""
        home, own = self.home, self.own
        if home.trunks:
            yield _Entry(any_of(home.trunks) + home.national(home.least), self.international)
        yield _Entry(
            rf"(?=\d{{{home.least},{MOST_DIGITS}}}\n)(?:{home.pattern})", self.international, weak=home.has_trunk
        )
        yield _Entry(home.code + home.national(home.least), self.international, weak=True)
        if self.lead in own.trunks and reaches(national(self.e164), self.e164, None):
            trunks = any_of(own.trunks)
            yield _Entry(trunks + own.national(own.least), national(self.e164), self.kept(trunks))


def parts(e164: str) -> dict[str, str]:
    """`{country, region, number}` as a page shows them apart: country code, area code (empty where a country has none), and the
    subscriber's number as it is written nationally."""
    number = parsed(e164)
    digits = phonenumbers.national_significant_number(number)
    area = area_digits(e164)
    subscriber = re.search(rf"(?:[0-9][^0-9]*){{{len(digits) - area}}}$", national(e164))
    shown = subscriber.group().strip() if subscriber else digits[area:]
    return {"country": str(number.country_code), "region": digits[:area], "number": shown}
