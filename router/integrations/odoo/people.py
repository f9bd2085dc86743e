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
    """The first of these persons whom Odoo has, by id, login or e-mail.

    Returns:
        Him, or None; and each who was looked for in vain, with the reason.
    """
    missing: list[tuple[str, str]] = []
    for name in dict.fromkeys(filter(None, (manager.strip() for manager in managers))):
        terms: list[Any] = [["login", "=ilike", exactly(name)], ["email", "=ilike", exactly(name)]]
        number = parse_int(name, greatest=2**31 - 1)
        if number is not None:
            terms.insert(0, ["id", "=", number])
        users = client.search(
            "res.users",
            ["|"] * (len(terms) - 1) + terms,
            ["login", "name", "active", "share"],
            order="id",
            limit=MOST_NAMESAKES,
            context={"active_test": False},
        )
        users.sort(key=lambda user: (user["id"] != number, str(user["login"]).casefold() != name.casefold()))
        for user in users:
            if user["active"] and not user["share"]:
                return OdooUser(int(user["id"]), str(user["name"]), name), missing
        if not users:
            why = f"Odoo has no user “{name}”"
        elif not any(user["active"] for user in users):
            why = f"“{name}” is archived in Odoo"
        else:
            why = f"“{name}” is no internal user of Odoo any more"
        missing.append((name, why))
    return None, missing
