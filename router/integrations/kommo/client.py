"""Kommo's REST API, version 4: lists in `_embedded`, an empty answer (204) for none, errors as problem documents."""

from collections.abc import Iterator, Mapping
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.client import JsonClient
from router.integrations.crm.connector import Access, RecordGone
from router.lib.http_client import Answer, Outgoing

PAGE, MOST_PAGES = 20, 10
"""Records of a list, some kilobytes each; a page of them fits into an answer that `Outgoing` reads."""


class KommoClient(JsonClient):
    product = "Kommo"

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access, access.config["url"], {"Authorization": f"Bearer {access.secret}"})

    def words(self, answer: Answer, document: Any) -> str:
        if not isinstance(document, dict) or not (document.get("title") or document.get("detail")):
            return ""
        errors = [error for part in document.get("validation-errors") or () for error in part.get("errors") or ()]
        said = [f"{error.get('path')}: {error.get('detail')}" for error in errors]
        return f"{document.get('title') or ''} {document.get('detail') or ''} {'; '.join(said)}"

    def is_account_refused(self, answer: Answer, document: Any) -> bool:
        """402: not paid. 403: this token may not, or too many requests were made for too long."""
        return answer.status in (401, 402, 403)

    def all(self, path: str, name: str, query: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The records of a list, at most PAGE * MOST_PAGES."""
        for page in range(1, MOST_PAGES + 1):
            answer = self.ask("GET", path, {**(query or {}), "limit": PAGE, "page": page})
            records = self.embedded(answer, name) if answer is not None else []
            yield from records
            if len(records) < PAGE:
                return

    def add(self, path: str, name: str, record: Mapping[str, Any]) -> int:
        """The number of what was made."""
        made = self.embedded(self.ask("POST", path, body=[record]), name)
        return self.made(made[0] if made else None)

    def record(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """
        Raises:
            RecordGone
        """
        try:
            found = self.ask("GET", path, query)
        except DeliveryError as error:
            if error.status != 404:
                raise
            found = None
        if not isinstance(found, dict) or found.get("is_deleted"):
            raise RecordGone("Kommo has no such record any more.", status=404)
        return found

    def embedded(self, answer: Any, name: str) -> list[dict[str, Any]]:
        embedded = answer.get("_embedded") if isinstance(answer, dict) else None
        if not isinstance(embedded, dict) or not isinstance(embedded.get(name), list):
            raise self.unreadable()
        records: list[dict[str, Any]] = embedded[name]
        return records
