"""Bitrix24's REST API by an incoming webhook: each method is a POST, and the secret stands in its address."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.client import JsonClient
from router.integrations.crm.connector import Access, RecordGone
from router.lib.http_client import Answer, Outgoing

PAGE, MOST_PAGES = 50, 6
"""Of lists, as Bitrix24 sets it."""
REFUSED = (
    *("NO_AUTH_FOUND", "INVALID_CREDENTIALS", "EXPIRED_TOKEN", "INSUFFICIENT_SCOPE", "ACCESS_DENIED"),
    *("PAYMENT_REQUIRED", "ALLOWED_ONLY_INTRANET_USER", "PORTAL_DELETED", "AUTHORIZATION_ERROR", "USER_ACCESS_ERROR"),
)
"""Errors about the webhook, its rights or the portal's plan."""
LATER = (
    "QUERY_LIMIT_EXCEEDED",
    "OPERATION_TIME_LIMIT",
    "OVERLOAD_LIMIT",
    "INTERNAL_SERVER_ERROR",
    "ERROR_UNEXPECTED_ANSWER",
)
LINK = re.compile(r'<a href="([^"]*)">(.*?)</a>')


class Bitrix24Client(JsonClient):
    product = "Bitrix24"

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access, f"{access.config['url'].rstrip('/')}/rest/{access.secret}", {})

    def words(self, answer: Answer, document: Any) -> str:
        """`{"error": …, "error_description": …}`"""
        if not isinstance(document, dict) or not (document.get("error") or document.get("error_description")):
            return ""
        return f"{document.get('error') or ''} {document.get('error_description') or ''}"

    def is_account_refused(self, answer: Answer, document: Any) -> bool:
        return answer.status in (401, 402, 403) or _code(document) in REFUSED

    def may_succeed_later(self, answer: Answer, document: Any) -> bool:
        return _code(document) in LATER or super().may_succeed_later(answer, document)

    def pause(self, answer: Answer) -> float | None:
        """The budget of execution time is counted over ten minutes."""
        return 60.0 if answer.status == 429 else None

    def without_secret(self, text: str) -> str:
        """Also without the webhook's code alone."""
        return (
            super().without_secret(text).replace(self.access.secret.partition("/")[2] or self.access.secret, "[secret]")
        )

    def error(self, answer: Answer, document: Any) -> DeliveryError:
        error = super().error(answer, document)
        if _code(document) == "QUERY_LIMIT_EXCEEDED":
            error.ambiguous = False  # a 503 by which nothing was begun
        return error

    def call(self, method: str, **arguments: Any) -> Any:
        """`result` of the answer.

        Raises:
            RecordGone
        """
        return self._asked(method, arguments)["result"]

    def pages(self, method: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """The records of a list, at most PAGE * MOST_PAGES."""
        start = 0
        for _ in range(MOST_PAGES):
            answer = self._asked(method, arguments | {"start": start})
            result = answer["result"]
            if isinstance(result, dict):
                result = result.get("items") or result.get("categories") or ()
            yield from result
            if type(answer.get("next")) is not int:
                return
            start = answer["next"]

    def _asked(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self.ask("POST", f"/{method}.json", body=arguments)
        except DeliveryError as error:
            if error.status in (400, 404) and re.search(r"answered 40[04]: (ERROR_)?NOT_FOUND", str(error)):
                raise RecordGone("Bitrix24 has no such record any more.", status=404) from None
            raise
        if not isinstance(answer, dict) or "result" not in answer:
            raise self.unreadable()
        return answer


def _code(document: Any) -> str:
    return str(document.get("error") or "").upper() if isinstance(document, dict) else ""


def bb_code(html: str) -> str:
    """Our notes as comments of the timeline have them."""
    text = LINK.sub(r"[URL=\1]\2[/URL]", html).replace("<br>", "\n").replace("</p><p>", "\n")
    return unescape(re.sub(r"<[^>]*>", "", text))


def flat(text: Any) -> str:
    return " ".join(str(text or "").split())
