"""Odoo's own protocol, JSON-2 (Odoo 19 and later): one request, and what its answers mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.integrations.base import DeliveryError, excerpt, may_succeed_later, not_delivered, retry_after
from router.integrations.crm.connector import Access, FieldsRefused, RecordGone
from router.lib.http_client import Outgoing, OutgoingError

REFUSED_ACCOUNT = ("odoo.exceptions.AccessDenied", "werkzeug.exceptions.NotFound")
"""Errors about the key, or about a model or method that this Odoo does not have: whatever lead is sent, they come again."""
REFUSED_MODEL = re.compile(r".*\([a-z0-9_]+(\.[a-z0-9_]+)*\)")
"""The first line of an AccessError about a model or a field of it, in every language: `… 'Lead' (crm.lead) records.` One about a record
names the model further down."""
PERMANENT_NAMES = ("builtins.", "odoo.exceptions.UserError", "odoo.exceptions.ValidationError")
"""Errors of status 500 that come back with the same message however often it is sent."""
PASSING = (
    *("could not serialize", "deadlock detected", "could not obtain lock", "duplicate key value"),
    "The name must be unique",
)
"""What `load` says when somebody else was writing at the same moment."""
INVALID_FIELD = re.compile(r"Invalid field name '(\w+)[/']")

LEAD, PARTNER = "crm.lead", "res.partner"
WITH_ARCHIVED = {"active_test": False}
"""Lost leads are archived ones."""


@dataclass(frozen=True)
class Refusal:
    """Why `load` made nothing."""

    column: str
    """Empty: it concerns the row."""
    words: str
    row: int


class OdooClient:
    """One database of one Odoo."""

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        self.outgoing = outgoing
        self.access = access
        self.url = access.config["url"].rstrip("/")
        self.headers = {"Authorization": f"bearer {access.secret}", "X-Odoo-Database": access.config["database"]}

    def search(self, model: str, domain: list[Any], fields: list[str], **more: Any) -> list[dict[str, Any]]:
        records = self.call(model, "search_read", domain=domain, fields=fields, **more)
        if not isinstance(records, list):
            raise DeliveryError("Odoo's answer has an unexpected form.", status=200)
        return records

    def load(self, model: str, record: str | int, values: Mapping[str, Any]) -> int:
        """Makes the record with this external id, or changes it when it is there; or changes the one with this number.

        Raises:
            FieldsRefused: Odoo names the fields that it does not take; nothing was made or changed.
            DeliveryError: anything else.
        """
        column = "id" if isinstance(record, str) else ".id"
        made, refusals = self.loading(model, [column, *values], [[record, *values.values()]])
        if made:
            return made[0]
        text = f"Odoo refused the record: {' '.join(refusal.words for refusal in refusals)[:400]}"
        if any(sign in text for sign in PASSING):
            raise DeliveryError(text, status=200)
        if refusals and all(refusal.column for refusal in refusals):
            raise FieldsRefused(text, {refusal.column: refusal.words for refusal in refusals}, 200)
        raise DeliveryError(text, permanent=True, status=200)

    def loaded(self, model: str, external_id: str) -> int | None:
        """The record with this external id. Without any value `load` changes nothing where it is, and makes nothing where it is not."""
        made, refusals = self.loading(model, ["id"], [[external_id]])
        if not made and any(sign in refusal.words for refusal in refusals for sign in PASSING):
            raise DeliveryError("Odoo was busy with this record.", status=200)
        return made[0] if made else None

    def loading(self, model: str, columns: list[str], rows: list[list[Any]]) -> tuple[list[int], list["Refusal"]]:
        """Odoo's `load`: the numbers of all records; or nothing was made, and why."""
        try:
            answer = self.call(model, "load", fields=columns, data=rows)
        except DeliveryError as error:
            if error.permanent and (name := INVALID_FIELD.search(str(error))):
                raise FieldsRefused(str(error), {name.group(1): "there is no such field"}, error.status) from None
            raise
        answer = answer if isinstance(answer, dict) else {}
        ids, messages = answer.get("ids"), answer.get("messages") or []
        refusals = [
            Refusal(
                str(message.get("field") or ""),
                " ".join(str(message.get("message", "")).split()),
                int(message.get("record") or 0),
            )
            for message in messages
        ]
        return ([int(number) for number in ids] if isinstance(ids, list) else []), refusals

    def made(self, model: str, method: str, **arguments: Any) -> int:
        """The number of the one record that a method makes."""
        answer = self.call(model, method, **arguments)
        number = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
        if not isinstance(number, int):
            raise DeliveryError("Odoo's answer has an unexpected form.", status=200)
        return number

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        """
        Raises:
            DeliveryError: with Odoo's own words.
        """
        address = f"{self.url}/json/2/{model}/{method}"
        try:
            answer = self.outgoing.post_json(address, arguments, self.headers, self.access.deadline)
        except OutgoingError as error:
            raise not_delivered(error) from None
        try:
            body, is_readable = answer.json(), True
        except ValueError:
            body, is_readable = None, False
        if answer.status == 200 and is_readable:
            return body
        if answer.status == 200:
            raise DeliveryError("Odoo's answer could not be read.", status=200)
        # without a name it is not Odoo that speaks but something before it, which may have taken offence at this one lead
        name = str(body.get("name") or "") if is_readable and isinstance(body, dict) else ""
        secret = self.access.secret
        said = excerpt(answer, secret)
        words = str(body.get("message", "")).replace(secret, "[secret]") if name else said
        text = f"Odoo answered {answer.status}: {' '.join(words.split())[:400]}"
        if name == "odoo.exceptions.MissingError":
            raise RecordGone(text, status=answer.status)
        is_model_refused = name == "odoo.exceptions.AccessError" and REFUSED_MODEL.match(words)
        if answer.status == 401 or name in REFUSED_ACCOUNT or is_model_refused:
            raise DeliveryError(text, status=answer.status, refused_account=True, answer=said)
        is_final = bool(name) and answer.status != 403 and not may_succeed_later(answer.status)
        permanent = is_final or name.startswith(PERMANENT_NAMES)
        wait = retry_after(answer.headers, self.access.now)
        # Odoo's own errors undo what the request did; a proxy before it may have given up too early
        is_ambiguous = answer.status >= 500 and not name
        raise DeliveryError(text, permanent, wait, status=answer.status, ambiguous=is_ambiguous, answer=said)


def exactly(text: str) -> str:
    """A value for `=ilike` that matches itself alone, in any case."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
