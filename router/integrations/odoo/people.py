"""The Odoo user who is responsible for a lead, and who is not there any more."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from router.integrations.odoo.client import OdooClient, exactly
from router.lib.formats import parse_int

MOST_NAMESAKES = 20


@dataclass(frozen=True)
class OdooUser:
    """Somebody whom a lead may belong to. `named`: as the settings name him."""

    id: int
    name: str
    named: str


def responsible_user(client: OdooClient, managers: Iterable[str]) -> tuple[OdooUser | None, list[tuple[str, str]]]:
    """The first of these persons whom Odoo has.

    Returns:
        Him, or None; and each who was looked for in vain, with the reason.
    """
    missing: list[tuple[str, str]] = []
    for name in dict.fromkeys(filter(None, (manager.strip() for manager in managers))):
        user, why = _look_up(client, name)
        if user is not None:
            return user, missing
        missing.append((name, why))
    return None, missing


def _look_up(client: OdooClient, name: str) -> tuple[OdooUser | None, str]:
    """By id, login or e-mail; else the reason why not."""
    terms: list[Any] = [["login", "=ilike", exactly(name)], ["email", "=ilike", exactly(name)]]
    number = parse_int(name, greatest=2**31 - 1)
    if number is not None:
        terms.insert(0, ["id", "=", number])
    found = client.search(
        "res.users",
        ["|"] * (len(terms) - 1) + terms,
        ["login", "name", "active", "share"],
        order="id",
        limit=MOST_NAMESAKES,
        context={"active_test": False},
    )
    found.sort(key=lambda user: (user["id"] != number, str(user["login"]).casefold() != name.casefold()))
    for user in found:
        if user["active"] and not user["share"]:
            return OdooUser(int(user["id"]), str(user["name"]), name), ""
    if not found:
        return None, f"Odoo has no user “{name}”"
    if not any(user["active"] for user in found):
        return None, f"“{name}” is archived in Odoo"
    return None, f"“{name}” is no internal user of Odoo any more"
