"""What a country's numbering plan says of written numbers: prefixes, lengths, patterns. From phonenumbers' metadata."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby

import phonenumbers
from phonenumbers import NumberFormat, PhoneMetadata

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


@dataclass(frozen=True)
class Plan:
    """What a country's numbering plan says of written numbers."""

    region: str
    code: str
    pattern: str
    """A regular expression of its national digits."""
    lengths: tuple[int, ...]
    local_lengths: tuple[int, ...]
    trunk: str
    """Its trunk prefix; empty where it has none."""
    prefix: str
    """A regular expression of its international prefixes."""
    shown_prefix: str
    """The usual one of them, as it is written (`8~10`); empty where it depends on the carrier."""
    formats: tuple[NumberFormat, ...]
    """How numbers are written that have no trunk prefix."""

    @classmethod
    @cache
    def of(cls, region: str) -> "Plan":
        """Of a region.

        Raises:
            LookupError: phonenumbers does not know it.
        """
        found = PhoneMetadata.metadata_for_region(region, None)
        if found is None:
            raise LookupError(region)
        return cls._read(region, found)

    @classmethod
    def of_code(cls, code: int, region: str | None = None) -> "Plan":
        """Of this region if it has the country code, else of the code's main region, or of a service without a country (+800)."""
        if region and phonenumbers.country_code_for_region(region) == code:
            return cls.of(region)
        main = phonenumbers.region_code_for_country_code(code)
        if main not in ("001", "ZZ"):
            return cls.of(main)
        found = PhoneMetadata.metadata_for_nongeo_region(code, None)
        if found is None:
            raise LookupError(code)
        return cls._read("001", found)

    @classmethod
    def _read(cls, region: str, found: PhoneMetadata) -> "Plan":
        general, prefix = found.general_desc, found.international_prefix or ""
        usual_prefix = found.preferred_international_prefix or (prefix if prefix.isdigit() else "")
        trunk = found.national_prefix or ""
        return cls(
            region,
            code=str(found.country_code),
            pattern=(general.national_number_pattern if general else "") or "",
            lengths=tuple(general.possible_length) if general else (),
            local_lengths=tuple(general.possible_length_local_only) if general else (),
            trunk=trunk,
            prefix=prefix,
            shown_prefix=usual_prefix,
            formats=tuple(
                one
                for one in found.number_format
                if trunk not in re.sub(r"\\\d", "", one.national_prefix_formatting_rule or "")
            ),
        )

    @property
    def prefixes(self) -> Sequence[str]:
        """The digits of its usual international prefix."""
        return [re.sub("[^0-9]", "", self.shown_prefix)] if self.shown_prefix else []

    @cached_property
    def trunks(self) -> Sequence[str]:
        """Trunk prefixes as they are written before national digits, the longest first; the country code (1 in America) is none."""
        found = {self.trunk, *OLD_TRUNKS.get(self.region, ())} - {"", self.code}
        return sorted(found, key=len, reverse=True)

    @property
    def has_trunk(self) -> bool:
        """Whether digits without a trunk prefix are no complete national number."""
        return self.trunk not in ("", self.code)

    @property
    def least(self) -> int:
        return LEAST_DIGITS if max(self.lengths) >= LEAST_DIGITS else min(self.lengths)

    @property
    def varies(self) -> bool:
        """Whether the length of a number says nothing about whether it is a whole one."""
        return len(self.lengths) > MOST_LENGTHS

    def national(self, least: int = 0, more: int = 0) -> str:
        """A regular expression of as many digits as its national numbers have; a zero at their beginning is a trunk prefix."""
        most = min(LONGEST_NATIONAL, MOST_DIGITS - len(self.code))
        lengths = [one for one in self.lengths if max(least, 4) <= one <= most]
        lengths = lengths or list(range(LEAST_DIGITS, most + 1))
        digits = digits_of([*lengths, *(lengths[-1] + one + 1 for one in range(more))])
        return f"(?!0){digits}" if self.trunk == "0" else digits

    def whole(self, *, local: bool) -> Sequence[str]:
        """Regular expressions of the digits that the country writes without its trunk prefix: numbers that have none (1300 123 456 in
        Australia), or local ones, which have no area code."""
        return [pattern for pattern, is_local in self._without_trunk if is_local == local]

    @cached_property
    def _without_trunk(self) -> Sequence[tuple[str, bool]]:
        found = []
        for one in self.formats:
            begin = one.leading_digits_pattern[-1] if one.leading_digits_pattern else ""
            counts = [count.split(",") for count in re.findall(r"\\d\{([\d,]+)\}|\\d", one.pattern or "")]
            least, most = (sum(int(count[place] or 1) for count in counts) for place in (0, -1))
            if most >= self.least and len(begin) < LONGEST_PATTERN:
                pattern = f"(?={begin}){digits_of(range(max(least, self.least), most + 1))}"
                found.append((pattern, not any(length in self.lengths for length in range(least, most + 1))))
        return found


def any_of(patterns: Iterable[str]) -> str:
    """A regular expression of any of these, which other ones may stand beside."""
    found = list(patterns)
    return f"(?:{'|'.join(found)})" if len(found) > 1 or any("|" in one for one in found) else "".join(found)


def digits_of(lengths: Iterable[int]) -> str:
    """A regular expression of so many digits: `\\d{4,6}`, `(?:\\d{7}|\\d{9,10})`."""
    rows = [
        [length for _, length in row]
        for _, row in groupby(enumerate(sorted(set(lengths))), key=lambda one: one[1] - one[0])
    ]
    return any_of(rf"\d{{{row[0]}{f',{row[-1]}' if row[-1] > row[0] else ''}}}" for row in rows)
