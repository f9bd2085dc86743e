"""Odoo's own protocol, JSON-2 (Odoo 19 and later): one request, and what its answers mean."""

import json
import re
from datetime import datetime
from typing import Any

from router.integrations.base import DeliveryError, excerpt, may_succeed_later, not_delivered, retry_after
from router.lib.http_client import Outgoing, OutgoingError

REFUSED_ACCOUNT = (401, 402, 403)
PERMANENT_NAMES = ("builtins.", "odoo.exceptions.UserError", "odoo.exceptions.ValidationError")
"""Errors of status 500 that come back with the same message however often it is sent."""
PASSING = (
    *("could not serialize", "deadlock detected", "could not obtain lock", "duplicate key value"),
    "The name must be unique",
)
"""What `load` says when somebody else was writing at the same moment."""
INVALID_FIELD = re.compile(r"Invalid field name '(\w+)[/']")


class RecordGone(DeliveryError):
    """The record was deleted in Odoo."""


class FieldsRefused(DeliveryError):
    """`load` made no record because of some of its fields. `fields`: their names, each with Odoo's words."""

    def __init__(self, message: str, fields: dict[str, str], status: int | None) -> None:
        super().__init__(message, permanent=True, status=status)
        self.fields = fields


class OdooClient:
    """One database of one Odoo, for one delivery."""

    def __init__(self, outgoing: Outgoing, url: str, database: str, key: str, deadline: float, now: datetime) -> None:
        self.outgoing = outgoing
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"bearer {key}", "X-Odoo-Database": database}
        self.key = key
        self.deadline = deadline
        self.now = now

    def search(self, model: str, domain: list[Any], fields: list[str], **more: Any) -> list[dict[str, Any]]:
        records = self.call(model, "search_read", domain=domain, fields=fields, **more)
        if not isinstance(records, list):
            raise DeliveryError("Odoo's answer has an unexpected form.", permanent=True)
        return records

    def load(self, model: str, external_id: str, values: dict[str, Any]) -> int:
        """Makes the record with this external id, or changes it when it is there: repeating is harmless.

        Raises:
            FieldsRefused: Odoo names the fields that it does not take; there is no record now.
            DeliveryError: anything else.
        """
        try:
            answer = self.call(model, "load", fields=["id", *values], data=[[external_id, *values.values()]])
        except DeliveryError as error:
            if error.permanent and (name := INVALID_FIELD.search(str(error))):
                raise FieldsRefused(str(error), {name.group(1): "there is no such field"}, error.status) from None
            raise
        ids = answer.get("ids") if isinstance(answer, dict) else None
        if isinstance(ids, list) and ids:
            return int(ids[0])
        messages = answer.get("messages", []) if isinstance(answer, dict) else []
        refusals = [
            (str(message.get("field") or ""), " ".join(str(message.get("message", "")).split())) for message in messages
        ]
        text = f"Odoo refused the record: {' '.join(words for _, words in refusals)[:400]}"
        if any(sign in text for sign in PASSING):
            raise DeliveryError(text, status=200)
        if refusals and all(name for name, _ in refusals):
            raise FieldsRefused(text, dict(refusals), 200)
        raise DeliveryError(text, permanent=True, status=200)

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        """
        Raises:
            DeliveryError: with Odoo's own words.
        """
        address = f"{self.url}/json/2/{model}/{method}"
        try:
            answer = self.outgoing.post_json(address, arguments, self.headers, self.deadline)
        except OutgoingError as error:
            raise not_delivered(error) from None
        try:
            body = json.loads(answer.body)
            is_readable = answer.complete
        except (ValueError, RecursionError):
            body, is_readable = None, False
        if answer.status == 200 and is_readable:
            return body
        if answer.status == 200:
            raise DeliveryError("Odoo's answer could not be read.", status=200)
        if is_readable and isinstance(body, dict):
            name, words = str(body.get("name", "")), str(body.get("message", ""))
        else:
            name, words = "", excerpt(answer, self.key)
        text = f"Odoo answered {answer.status}: {' '.join(words.replace(self.key, '[secret]').split())[:400]}"
        if name == "odoo.exceptions.MissingError":
            raise RecordGone(text, status=answer.status)
        if answer.status in REFUSED_ACCOUNT or (answer.status == 404 and not name):  # no such database: no JSON
            raise DeliveryError(text, status=answer.status, refused_account=True)
        permanent = name.startswith(PERMANENT_NAMES) or not may_succeed_later(answer.status)
        wait = retry_after(answer.headers, self.now)
        raise DeliveryError(text, permanent, wait, status=answer.status)


def exactly(text: str) -> str:
    """A value for `=ilike` that matches itself alone, in any case."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
