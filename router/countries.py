"""Names of countries, from the time zone database's list of ISO 3166."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import phonenumbers

LIST = "iso3166.tab"


def country_name(code: str) -> str:
    """`United States`; a code that the list does not have stays as it is."""
    return _names().get(code, code)


def named_countries(codes: Iterable[str] = phonenumbers.SUPPORTED_REGIONS) -> list[tuple[str, str]]:
    """Code and name of countries, in the order of the names; without codes of every country with telephone numbers."""
    return sorted(((code, country_name(code)) for code in codes), key=lambda one: one[1])


@cache
def _names() -> dict[str, str]:
    lines = (files("tzdata.zoneinfo") / LIST).read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t", 1) for line in lines if line and not line.startswith("#"))
