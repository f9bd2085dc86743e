"""Tryton's REST API (server 7.4 and later): methods of models over POST, in the name of the user whose key it is.

Its own errors are JSON where a person could have caused them, and pages of Werkzeug else; a firewall's page has another form.
https://docs.tryton.org/latest/server/topics/rest.html
"""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from html import unescape
from typing import Any
from urllib.parse import quote

from router.integrations.base import DeliveryError
from router.integrations.crm.client import PAUSES_ACCOUNT, JsonClient
from router.integrations.crm.connector import Access, FieldsRefused, RecordGone
from router.lib.http_client import Answer, Outgoing

LEAD, PARTY, NOTE = "sale.opportunity", "party.party", "ir.note"
PAGE, MOST_PAGES = 40, 5
"""A page of candidates fits into an answer that `Outgoing` reads."""
WERKZEUG = re.compile(
    r"\s*<!doctype html>\s*<html lang=en>\s*<title>\d+ ([^<]*)</title>\s*<h1>[^<]*</h1>\s*<p>(.*?)</p>", re.DOTALL
)
FIELD = re.compile(r'(?:for )?field "([^"]*)"')
"""How Tryton names a field that it does not take: `A value is required for field "Party" in record …`."""


class TrytonClient(JsonClient):
    """One company in one database of one Tryton."""

    product = "Tryton"

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        self.database = str(access.config["database"])
        headers = {"Authorization": f"Bearer {access.secret}", "Accept-Language": "en"}
        super().__init__(outgoing, access, str(access.config["url"]), headers)

    def words(self, answer: Answer, document: Any) -> str:
        if isinstance(document, dict) and isinstance(document.get("message"), str):
            return " ".join(filter(None, (document["message"], str(document.get("description") or ""))))
        page = WERKZEUG.match(answer.text)
        return f"{page.group(1)}: {unescape(page.group(2))}" if page else ""

    def is_account_refused(self, answer: Answer, document: Any) -> bool:
        """403: its user lacks a right on a kind of records, which the next lead lacks as well."""
        return answer.status in (*PAUSES_ACCOUNT, 403)

    def may_succeed_later(self, answer: Answer, document: Any) -> bool:
        """423: somebody else was writing at the same moment."""
        return answer.status == 423 or super().may_succeed_later(answer, document)

    @cached_property
    def preferences(self) -> Mapping[str, Any]:
        """Of the key's user: `company` and `companies`, by their ids."""
        answer = self.method("res.user", "get_preferences", context_only=True)
        if not isinstance(answer, dict):
            raise self.unreadable()
        return answer

    @cached_property
    def company(self) -> int:
        """Where leads are made: nobody sees or makes any without one.

        Raises:
            DeliveryError: the user has none, or not the one of the settings.
        """
        mine = [int(number) for number in self.preferences.get("companies") or ()]
        wanted = str(self.access.config.get("company") or "").strip()
        if not wanted:
            found = self.preferences.get("company") or (mine[0] if len(mine) == 1 else None)
        elif wanted.isdecimal():
            found = int(wanted) if int(wanted) in mine else None
        else:
            named = self.method(
                "company.company", "search_read", domain=[["id", "in", mine]], fields_names=["rec_name"]
            )
            same = [item["id"] for item in named if str(item["rec_name"]).casefold() == wanted.casefold()]
            found = same[0] if same else None
        if found is None:
            which = f"not in the company “{wanted}”" if wanted else "in no company, or in several"
            raise DeliveryError(f"The key’s user works {which} of Tryton.", status=403, refused_account=True)
        return int(found)

    def call(self, model: str, method: str, record: int | None = None, **arguments: Any) -> Any:
        """A method in the name of the company.

        Raises:
            RecordGone: there is no record with this number, or none that this key may see.
        """
        with self._context({"company": self.company, "companies": [self.company]}):
            return self.method(model, method, record, **arguments)

    def at(self, moment: Any, model: str, record: int, fields: Sequence[str]) -> dict[str, Any]:
        """What a record with a history was at a moment, in the form in which Tryton tells moments; empty: it was not there."""
        context = {"company": self.company, "companies": [self.company], "_datetime": moment}
        with self._context(context):
            found = self.method(model, "search_read", domain=[["id", "=", record]], fields_names=list(fields))
        return dict(found[0]) if isinstance(found, list) and found else {}

    @contextmanager
    def _context(self, context: Mapping[str, Any]) -> Iterator[None]:
        before = self.headers
        self.headers = {**before, "X-Tryton-Context": urlsafe_b64encode(json.dumps(context).encode()).decode()}
        try:
            yield
        finally:
            self.headers = before

    def method(self, model: str, method: str, record: int | None = None, **arguments: Any) -> Any:
        place = f"{model}/{record}/{method}" if record is not None else f"{model}/{method}"
        try:
            return self.ask("POST", f"/{quote(self.database)}/rest/model/{place}", None, arguments)
        except DeliveryError as error:
            if error.status == 404 and error.permanent:
                if record is not None:
                    raise RecordGone(str(error), status=404) from None
                error.refused_account = True  # there is no such database, whatever is sent
            raise

    def search(self, model: str, domain: Sequence[Any], fields: Sequence[str], **more: Any) -> list[dict[str, Any]]:
        records = self.call(model, "search_read", domain=list(domain), fields_names=list(fields), **more)
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise self.unreadable()
        return records

    def pages(self, model: str, domain: Sequence[Any], fields: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The first PAGE * MOST_PAGES of them."""
        for page in range(MOST_PAGES):
            records = self.search(model, domain, fields, limit=PAGE, offset=page * PAGE, order=[["id", "ASC"]])
            yield from records
            if len(records) < PAGE:
                return

    def create(self, model: str, values: Mapping[str, Any]) -> int:
        made = self.call(model, "create", vlist=[dict(values)])
        if not isinstance(made, list) or len(made) != 1:
            raise self.unreadable()
        return self.made(made[0])

    @cached_property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """Of a lead, by name."""
        described = self.call(LEAD, "fields_get")
        return described if isinstance(described, dict) else {}

    def fields_refused(self, error: DeliveryError, values: Mapping[str, Any]) -> DeliveryError:
        """The same error, telling which of these values it is about where Tryton says that."""
        if error.status != 400 or not error.permanent:
            return error
        labels = set(FIELD.findall(str(error)))
        names = [name for name in values if str(self.fields.get(name, {}).get("string")) in labels]
        return FieldsRefused(str(error), dict.fromkeys(names, str(error)), 400) if names else error


def exactly(text: str) -> str:
    """For `like`: a text that stands for itself alone."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
