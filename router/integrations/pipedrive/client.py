"""Pipedrive's REST API: version 2, and version 1 for users, who are not in version 2."""

from collections.abc import Iterator, Mapping
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.client import JsonClient
from router.integrations.crm.connector import Access, RecordGone
from router.lib.http_client import Answer, Outgoing

PAGE, MOST_PAGES = 20, 10
"""Records of a list, some kilobytes each; a page of them fits into an answer that `Outgoing` reads."""


class PipedriveClient(JsonClient):
    """One company's account, as the user whose token it is sees it."""

    product = "Pipedrive"

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access, access.config["url"], {"x-api-token": access.secret})

    def words(self, answer: Answer, document: Any) -> str:
        """`{"success": false, "error": …, "error_info": …}`"""
        if not isinstance(document, dict) or not document.get("error"):
            return ""
        return f"{document['error']} {document.get('error_info') or ''}"

    def is_account_refused(self, answer: Answer, document: Any) -> bool:
        """Also what this user may not do, and the limits of the company's plan (`feature_capping_…`)."""
        return answer.status in (401, 402, 403)

    def pause(self, answer: Answer) -> float | None:
        """Without Retry-After: seconds until the burst limit starts anew."""
        seconds = answer.headers.get("x-ratelimit-reset", "")
        return float(seconds) if answer.status == 429 and seconds.isdigit() else None

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """`data` of the answer."""
        return self._data(self.ask("GET", path, query))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._data(self.ask("POST", path, body=body))

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._data(self.ask("PATCH", path, body=body))

    def add(self, path: str, body: Mapping[str, Any]) -> int:
        """The number of what was made."""
        return self.made(self.post(path, body))

    def record(self, path: str) -> dict[str, Any]:
        """
        Raises:
            RecordGone: also for a deleted one, which Pipedrive keeps for 30 days.
        """
        try:
            found = self.get(path)
        except DeliveryError as error:
            if error.status in (404, 410):
                raise RecordGone("Pipedrive has no such record any more.", status=404) from None
            raise
        if not isinstance(found, dict) or found.get("is_deleted"):
            raise RecordGone("Pipedrive has no such record any more.", status=404)
        return found

    def pages(self, path: str, query: Mapping[str, Any] | None = None, page: int = PAGE) -> Iterator[dict[str, Any]]:
        """The records of a list of version 2, at most page * MOST_PAGES."""
        cursor: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            answer = self.ask("GET", path, {**(query or {}), "limit": page, **cursor})
            data = self._data(answer)
            yield from (data["items"] if isinstance(data, dict) else data) or []
            following = (answer.get("additional_data") or {}).get("next_cursor")
            if not following:
                return
            cursor = {"cursor": following}

    def _data(self, answer: Any) -> Any:
        if not isinstance(answer, dict) or answer.get("success") is not True:
            raise self.unreadable()
        return answer.get("data")
