"""HubSpot's API with dated paths: objects, their associations and their properties, and what its errors mean.

https://developers.hubspot.com/docs/api-reference/latest/crm/using-object-apis
https://developers.hubspot.com/docs/api-reference/error-handling"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from html import unescape
from typing import Any
from urllib.parse import quote

from router.integrations.base import DeliveryError
from router.integrations.crm.client import JsonClient
from router.integrations.crm.connector import Access, FieldsRefused, RecordGone
from router.lib.http_client import Answer, Outgoing

VERSION = "2026-09"
KEY = "calltrack_key"
"""Our own property of contacts and deals, whose values HubSpot keeps unique: by it a record is found without the search, which lags."""
GROUPS = {"contacts": "contactinformation", "deals": "dealinformation"}
PAGE, MOST_PAGES = 40, 5
"""A page of records fits into an answer that a delivery reads (64 kB)."""
PAGE_WITH_WORDS = 10
"""The same of entries, whose notes people write."""
TO = {
    ("deals", "contacts"): 3,
    ("calls", "contacts"): 194,
    ("calls", "deals"): 206,
    ("notes", "contacts"): 202,
    ("notes", "deals"): 214,
    ("tasks", "contacts"): 204,
    ("tasks", "deals"): 216,
}
"""HubSpot's own types of associations, from and to:
https://developers.hubspot.com/docs/api-reference/latest/crm/associations/overview"""
DAILY_PAUSE = 3600.0
LISTED = re.compile(r"\[\{.*\}\]", re.DOTALL)
TAGS = re.compile(r"<[^>]*>")


class HubSpotClient(JsonClient):
    product = "HubSpot"

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access, access.config["api"], {"Authorization": f"Bearer {access.secret}"})

    def words(self, answer: Answer, document: Any) -> str:
        return str(document.get("message") or "") if isinstance(document, dict) and "category" in document else ""

    def is_account_refused(self, answer: Answer, document: Any) -> bool:
        """403 is a scope that the key does not have."""
        return answer.status in (401, 402, 403)

    def error(self, answer: Answer, document: Any) -> DeliveryError:
        error = super().error(answer, document)
        if not self.words(answer, document):
            return error
        if answer.status == 404:
            return RecordGone(str(error), status=404, answer=error.answer)
        if answer.status == 429 and document.get("policyName") == "DAILY" and error.retry_after is None:
            error.retry_after = DAILY_PAUSE
        refused = refused_properties(document) if answer.status in (400, 409) else {}
        if refused:
            told = {name: self.without_secret(words) for name, words in refused.items()}
            return FieldsRefused(str(error), told, answer.status)
        if scopes := missing_scopes(document):
            error.args = (f"HubSpot answered {answer.status}: the key lacks the scopes {', '.join(scopes)}.",)
        return error

    # objects

    def object(self, kind: str, record: Any, properties: Sequence[str] = (), by: str = "") -> dict[str, Any]:
        """One record; `by` is the unique property that `record` is a value of.

        Raises:
            RecordGone
        """
        query = {"properties": ",".join(properties), "idProperty": by}
        path = f"/crm/objects/{VERSION}/{kind}/{quote(str(record), safe='')}"
        return self._document(self.ask("GET", path, {name: value for name, value in query.items() if value}))

    def objects(self, kind: str, records: Sequence[Any], properties: Sequence[str]) -> list[dict[str, Any]]:
        """Those of these records that are there."""
        found: list[dict[str, Any]] = []
        size = PAGE if kind in GROUPS else PAGE_WITH_WORDS
        for first in range(0, len(records), size):
            inputs = [{"id": str(record)} for record in records[first : first + size]]
            body = {"properties": list(properties), "inputs": inputs}
            answer = self._question(f"/crm/objects/{VERSION}/{kind}/batch/read", body)
            found += self._results(answer)
        return found

    def search(
        self, kind: str, groups: Sequence[Sequence[Mapping[str, str]]], properties: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """The records that meet all filters of any of at most five groups, newest first. New records are missing for some seconds."""
        body: dict[str, Any] = {
            "filterGroups": [{"filters": list(group)} for group in groups],
            "properties": list(properties),
            "sorts": [{"propertyName": "hs_object_id", "direction": "DESCENDING"}],
            "limit": PAGE if kind in GROUPS else PAGE_WITH_WORDS,
        }
        for _ in range(MOST_PAGES):
            answer = self._question(f"/crm/objects/{VERSION}/{kind}/search", body)
            yield from self._results(answer)
            after = ((answer.get("paging") or {}).get("next") or {}).get("after")
            if not after:
                return
            body["after"] = after

    def create(self, kind: str, properties: Mapping[str, Any], to: Sequence[tuple[str, Any]] = ()) -> str:
        """Makes a record that belongs to others, in one request."""
        associations = [
            {
                "to": {"id": str(record)},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": TO[kind, other]}],
            }
            for other, record in to
        ]
        body = {"properties": texts(properties), "associations": associations}
        made = self._document(self.ask("POST", f"/crm/objects/{VERSION}/{kind}", body=body))
        return str(made["id"])

    def change(self, kind: str, record: Any, properties: Mapping[str, Any]) -> None:
        self.ask("PATCH", f"/crm/objects/{VERSION}/{kind}/{record}", body={"properties": texts(properties)})

    def associated(self, kind: str, records: Sequence[Any], to: str) -> dict[str, list[str]]:
        """Of each record the ids of those of another kind that belong to it; read as they are, without the search."""
        found: dict[str, list[str]] = {str(record): [] for record in records}
        inputs: list[dict[str, Any]] = [{"id": record} for record in found]
        for _ in range(MOST_PAGES):
            if not inputs:
                break
            path = f"/crm/associations/{VERSION}/{kind}/{to}/batch/read"
            answer, inputs = self._question(path, {"inputs": inputs}), []
            for result in self._results(answer):
                one = str(result["from"]["id"])
                found.setdefault(one, []).extend(str(other["toObjectId"]) for other in result["to"])
                if after := ((result.get("paging") or {}).get("next") or {}).get("after"):
                    inputs.append({"id": one, "after": after})
        return found

    # what describes them

    def listed(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The whole list of people, pipelines or properties."""
        found: list[dict[str, Any]] = []
        for _ in range(MOST_PAGES):
            answer = self.ask("GET", path, query)
            found += self._results(answer)
            after = ((answer.get("paging") or {}).get("next") or {}).get("after")
            if not after:
                break
            query["after"] = after
        return found

    def has_property(self, kind: str, name: str) -> bool:
        try:
            self.ask("GET", f"/crm/properties/{VERSION}/{kind}/{name}")
        except RecordGone:
            return False
        return True

    def make_property(self, kind: str, name: str, label: str, is_unique: bool = False) -> None:
        """One line of text; one that is there already stays."""
        body = {
            "name": name,
            "label": label,
            "type": "string",
            "fieldType": "text",
            "groupName": GROUPS[kind],
            "hasUniqueValue": is_unique,
        }
        try:
            self.ask("POST", f"/crm/properties/{VERSION}/{kind}", body=body)
        except DeliveryError as error:
            if error.status != 409:
                raise

    def make_key(self, kind: str) -> bool:
        """Whether the property for our key had to be made.

        Raises:
            DeliveryError: this key may not; the account waits until somebody has made it.
        """
        if self.has_property(kind, KEY):
            return False
        self.make_property(kind, KEY, "Call tracking key", is_unique=True)
        return True

    def _question(self, path: str, body: Any) -> dict[str, Any]:
        return self._document(self.ask("POST", path, body=body))

    def _document(self, answer: Any) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise DeliveryError("HubSpot’s answer has an unexpected form.", status=200)
        return answer

    def _results(self, answer: Any) -> list[dict[str, Any]]:
        results = self._document(answer).get("results")
        if not isinstance(results, list):
            raise DeliveryError("HubSpot’s answer has an unexpected form.", status=200)
        return results


def refused_properties(document: Mapping[str, Any]) -> dict[str, str]:
    """Properties that an error names, each with HubSpot's words."""
    found: dict[str, str] = {}
    for error in document.get("errors") or ():
        names = (error.get("context") or {}).get("propertyName") or [error.get("name")]
        for name in filter(None, names if isinstance(names, list) else [names]):
            found[str(name)] = " ".join(str(error.get("message", "")).split())[:200]
    listed = LISTED.search(str(document.get("message") or ""))
    if listed and not found:  # where there is no member `errors`, they stand in the message
        with suppress(ValueError, TypeError, KeyError):
            found = {str(one["name"]): str(one.get("message", ""))[:200] for one in json.loads(listed.group())}
    return found


def missing_scopes(document: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for error in (document, *(document.get("errors") or ())):
        context = error.get("context") or {}
        for name in ("requiredGranularScopes", "requiredScopes", "missingScopes"):
            found += [str(scope) for scope in context.get(name) or ()]
    return list(dict.fromkeys(found))


def texts(properties: Mapping[str, Any]) -> dict[str, str]:
    """HubSpot's values are texts; an empty one empties the property."""
    return {name: "" if value is None else str(value) for name, value in properties.items()}


def plain(html: Any) -> str:
    """What people read, however HubSpot has rewritten the tags."""
    return " ".join(unescape(TAGS.sub(" ", str(html or ""))).split())
