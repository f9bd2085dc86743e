"""What *Check connection* asks a Tryton: whose it is, who works there, and whether this key may do what a lead needs.

Tryton makes all records of a request or none: so a lead is tried for real beside a second one that no Tryton takes, which undoes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import Account, Choice, Choices
from router.integrations.tryton.client import LEAD, NOTE, PARTY, TrytonClient

MOST_PEOPLE = 300
TRIED, UNDONE = "CALL-CHECK-1", "CALL-CHECK-2"
"""References of opportunities that are never made."""
READ = (
    (LEAD, "opportunities", "Sale Opportunity"),
    (PARTY, "parties", "Party"),
    ("party.contact_mechanism", "contact mechanisms of parties", "Party"),
    ("company.employee", "employees", "Employee"),
)
TEXTS = ("char", "text", "selection")
"""Types of fields that a template can fill."""
RESERVED = ("id", "number", "reference", "party", "contact", "company", "employee", "state")


@dataclass(frozen=True)
class Employee:
    id: int
    name: str
    login: str
    names: frozenset[str]
    """By which people may call him, case-folded."""
    since: date | None
    until: date | None

    def is_there(self, today: date) -> bool:
        return (self.since is None or self.since <= today) and (self.until is None or today <= self.until)


def employees(client: TrytonClient) -> list[Employee]:
    """Of the company, also those who left."""
    fields = ["rec_name", "start_date", "end_date"]
    found = client.search(
        "company.employee", [["company", "=", client.company]], fields, order=[["id", "ASC"]], limit=MOST_PEOPLE
    )
    ids = [item["id"] for item in found]
    users = client.search("res.user", [["employees", "in", ids]], ["login", "email", "name", "employees"])
    people = []
    for item in found:
        own = [user for user in users if item["id"] in user["employees"]]
        texts = [str(item["id"]), item["rec_name"]]
        texts += [user[name] for user in own for name in ("login", "email", "name")]
        people.append(
            Employee(
                int(item["id"]),
                str(item["rec_name"]),
                str(own[0]["login"]) if own else "",
                frozenset(str(text).strip().casefold() for text in texts if text),
                _day(item["start_date"]),
                _day(item["end_date"]),
            )
        )
    return people


def countries(client: TrytonClient) -> list[str]:
    """Of the company's own addresses, in which a number without a country code is read."""
    try:
        (company,) = client.search(
            "company.company", [["id", "=", client.company]], ["party.addresses.country.code"], limit=1
        )
    except (DeliveryError, ValueError):
        return []
    addresses = (company.get("party.") or {}).get("addresses.") or ()
    return [str(address["country."]["code"]) for address in addresses if address.get("country.")]


def account(client: TrytonClient) -> Account:
    """Known by the moments at which database and company were made, to the microsecond, which only its users can read."""
    company = client.search("company.company", [["id", "=", client.company]], ["rec_name", "create_date"], limit=1)
    title = f"{company[0]['rec_name'] if company else client.database} at {client.url.split('://')[-1]}"
    try:
        model = client.search("ir.model", [["id", "=", 1]], ["create_date"], limit=1)
    except DeliveryError as error:
        if error.status != 403:
            raise
        model = []
    moments = [_moment(records[0].get("create_date")) if records else "" for records in (model, company)]
    if not all(moments):
        return Account(None, title)
    text = "|".join((client.database, str(client.company), *moments))
    return Account(blake2b(text.encode(), digest_size=16).hexdigest(), title)


def choices(client: TrytonClient) -> Choices:
    mine = [["id", "in", list(client.preferences.get("companies") or ())]]
    companies = client.method("company.company", "search_read", domain=mine, fields_names=["rec_name"])
    today = client.access.now.date()
    return Choices(
        people=tuple(
            Choice(
                person.login or str(person.id),
                f"{person.name} ({person.login})" if person.login else person.name,
                tuple(sorted(person.names)),
            )
            for person in employees(client)
            if person.is_there(today)
        ),
        pipelines=tuple(Choice(str(item["id"]), str(item["rec_name"])) for item in companies),
        fields=tuple(
            Choice(name, str(field["string"]))
            for name, field in sorted(client.fields.items())
            if field["type"] in TEXTS and not field.get("readonly") and name not in RESERVED
        ),
    )


def problems(client: TrytonClient, values: Mapping[str, Any]) -> list[str]:
    """What a lead of these values, its contact and its note would meet, a sentence each; nothing is left behind."""
    found = []
    for model, what, group in READ:
        try:
            client.search(model, [], ["id"], limit=1)
        except DeliveryError as error:
            if error.status != 403:
                raise
            found.append(f"This key may not read {what} ({model}). Give its user the group “{group}”.")
    if found:
        return found
    company = {"company": client.company}
    impossible = {"type": "no such type", "value": "1"}
    phones = ({"type": "phone", "value": "+14155550100"}, impossible)
    parties = [
        {"name": name, "contact_mechanisms": [["create", [phone]]]} for name, phone in zip("ab", phones, strict=True)
    ]
    leads = [{**values, **company, "reference": TRIED}, {**company, "reference": UNDONE, "state": "no such state"}]
    for model, what, group, rows, sign in (
        (PARTY, "parties", "Party Administration", parties, "no such type"),
        (LEAD, "opportunities", "Sale Opportunity", leads, UNDONE),
        (NOTE, "notes", "Sale Opportunity", [{"resource": None, "message": "Check connection"}], "Resource"),
    ):
        try:
            client.call(model, "create", vlist=rows)
        except DeliveryError as error:
            if error.status == 403:
                found.append(f"This key may not make {what} ({model}). Give its user the group “{group}”.")
            elif error.status != 400:
                raise
            elif sign not in str(error):
                found.append(f"Tryton would refuse the lead: {error}")
    return found


def _day(value: Any) -> date | None:
    """Tryton writes a day as an object with its parts."""
    if not isinstance(value, Mapping):
        return None
    return date(int(value["year"]), int(value["month"]), int(value["day"]))


def _moment(value: Any) -> str:
    parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return " ".join(str(value.get(part)) for part in parts) if isinstance(value, Mapping) else ""
