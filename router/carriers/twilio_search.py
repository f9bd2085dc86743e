"""A search of numbers in Twilio's terms, and what of its answer really fits: area codes are known to it in North America only."""

import re
from dataclasses import dataclass, field

import phonenumbers

from router.carriers.shop import NotForUs

NORTH_AMERICA = ("US", "CA")
LEAST_PATTERN, MOST_PATTERN = 2, 16
MOST_RESULTS = 1000
"""Asked for when part of the question is ours to answer."""
E164 = re.compile(r"\+[1-9][0-9]{3,14}")
NOT_DIGITS = re.compile(r"[^0-9]")


@dataclass
class Search:
    """What was asked; everything but digits is dropped, and so is a leading 0 that is dialled only inside the country.

    Raises:
        NotForUs: this is no country.
    """

    country: str
    area_code: str
    contains: str
    limit: int
    code: str = field(init=False)

    def __post_init__(self) -> None:
        self.country = self.country.strip().upper()
        if self.country not in phonenumbers.SUPPORTED_REGIONS:
            raise NotForUs("There is no such country.")
        self.area_code = NOT_DIGITS.sub("", self.area_code)
        self.contains = NOT_DIGITS.sub("", self.contains)
        self.limit = max(1, min(self.limit, MOST_RESULTS))
        self.code = str(phonenumbers.country_code_for_region(self.country))
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(self.country)
        if metadata and metadata.national_prefix == "0":
            self.area_code = self.area_code.removeprefix("0")

    def queries(self) -> list[dict[str, str | int]]:
        """Twilio's parameters. Patterns with a wildcard inside are documented, but have been refused: then the next one is used."""
        asked: dict[str, str | int] = {"PageSize": self.limit, "VoiceEnabled": "true"}
        if self.country in NORTH_AMERICA and len(self.area_code) == 3:
            return [asked | {"AreaCode": self.area_code} | self._containing()]
        if not self.area_code:
            return [asked | self._containing()]
        pattern = f"+{self.code}{self.area_code}"
        wide = asked | {"Contains": pattern[:MOST_PATTERN], "PageSize": MOST_RESULTS}
        narrow = asked | {"Contains": f"{pattern}%{self.contains}"}
        return [narrow, wide] if self.contains else [asked | {"Contains": pattern}]

    def _containing(self) -> dict[str, str | int]:
        if len(self.contains) >= LEAST_PATTERN:
            return {"Contains": self.contains[:MOST_PATTERN]}
        return {"PageSize": MOST_RESULTS} if self.contains else {}

    def fits(self, e164: str) -> bool:
        """Whether an offered number is one that was asked for: an answer may hold others."""
        begins = e164.startswith(f"+{self.code}{self.area_code}")
        return begins and E164.fullmatch(e164) is not None and self.contains in e164
