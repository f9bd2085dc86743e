"""Which numbers upkeep buys: such as the pool has already, of the same country and area."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import phonenumbers

from router.accounts.models import Project
from router.carriers import shop_of
from router.phones import country_of
from router.scenarios.models import Scenario
from router.server import Server

SPARE = 10
"""So many more are looked for, because somebody may be faster."""


def search_for(e164s: Sequence[str], scenario: Scenario, project: Project) -> dict[str, Any]:
    """`{country, area_code, contains}`: what most numbers of the pool have, else what was asked for when it was bought."""
    places = Counter((country_of(e164) or "", area_code_of(e164)) for e164 in e164s)
    if places:
        country, area_code = places.most_common(1)[0][0]
    else:
        country, area_code = scenario.to_buy.get("country") or "", scenario.to_buy.get("area_code") or ""
    return {"country": country or project.country, "area_code": area_code, "contains": ""}


def area_code_of(e164: str) -> str:
    """The national digits that say where a number is; empty for mobile and toll-free ones."""
    number = phonenumbers.parse(e164, None)
    length = phonenumbers.length_of_geographical_area_code(number)
    return phonenumbers.national_significant_number(number)[:length]


def find_numbers(server: Server, search: dict[str, Any], count: int) -> list[str]:
    """Numbers for sale, at best of the same area, then of the same country; one or two requests to the carrier.

    Raises:
        ShopError, SettingsError: the carrier could not be asked.
    """
    if not search["country"]:
        return []
    shop, limit = shop_of(server), count + SPARE
    found = [one.e164 for one in shop.search(search["country"], search["area_code"], limit=limit)]
    if len(found) < count and search["area_code"]:
        found += [one.e164 for one in shop.search(search["country"], limit=limit)]
    return list(dict.fromkeys(found))
