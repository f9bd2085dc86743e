"""One request to a CRM that speaks JSON over HTTP, and what its answers mean for a delivery: again later, not with this key, or never."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

from router.integrations.base import DeliveryError, excerpt, may_succeed_later, not_delivered, retry_after
from router.integrations.crm.connector import Access
from router.lib.http_client import Answer, Outgoing, OutgoingError

PAUSES_ACCOUNT = (401, 402)
"""Statuses by which every CRM refuses the key or an account that is not paid, whatever is asked."""


class JsonClient:
    """One account of one CRM. A CRM's own client says how its errors read."""

    product: ClassVar[str]

    def __init__(self, outgoing: Outgoing, access: Access, url: str, headers: Mapping[str, str]) -> None:
        self.outgoing = outgoing
        self.access = access
        self.url = url.rstrip("/")
        self.headers = headers

    def words(self, answer: Answer, document: Any) -> str:
        """The CRM's own sentence for an error. Empty: it is not the CRM that speaks but something before it."""
        raise NotImplementedError

    def is_account_refused(self, answer: Answer, document: Any) -> bool:
        """The key is refused, not this request; asked only where the CRM itself speaks."""
        return answer.status in PAUSES_ACCOUNT

    def may_succeed_later(self, answer: Answer, document: Any) -> bool:
        return may_succeed_later(answer.status)

    def pause(self, answer: Answer) -> float | None:
        """Seconds that the CRM asks to wait, in its own way."""
        return None

    def without_secret(self, text: str) -> str:
        return text.replace(self.access.secret, "[secret]") if self.access.secret else text

    def ask(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """
        Returns:
            The document; None for an empty answer (204).

        Raises:
            DeliveryError: with the CRM's own words. An answer 2xx that cannot be read is ambiguous: the CRM acted on the request.
        """
        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", **self.headers}
        content = b""
        if body is not None:
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        try:
            answer = self.outgoing.request(method, url, content, headers, self.access.deadline)
        except OutgoingError as error:
            failed = not_delivered(error)
            failed.args = (self.without_secret(str(failed)),)
            raise failed from None
        try:
            document, is_readable = (answer.json() if answer.body or not answer.complete else None), True
        except ValueError:
            document, is_readable = None, False
        if 200 <= answer.status < 300:
            if not is_readable:
                text = f"{self.product}’s answer could not be read."
                raise DeliveryError(
                    text,
                    status=answer.status,
                    ambiguous=True,
                    answer=self.without_secret(excerpt(answer, self.access.secret)),
                )
            return document
        raise self.error(answer, document)

    def unreadable(self, status: int = 200) -> DeliveryError:
        """For an answer of success in a form that was not expected: nobody knows what the CRM did."""
        return DeliveryError(f"{self.product}’s answer has an unexpected form.", status=status, ambiguous=True)

    def made(self, record: Any) -> int:
        """The number of a record that was made."""
        number = record.get("id") if isinstance(record, dict) else record
        if isinstance(number, str) and number.isdecimal():
            number = int(number)
        if type(number) is not int:
            raise self.unreadable()
        return number

    def error(self, answer: Answer, document: Any) -> DeliveryError:
        """What an answer means that is no success."""
        words = self.words(answer, document)
        said = self.without_secret(excerpt(answer, self.access.secret))
        told = self.without_secret(" ".join((words or said).split()))[:400]
        is_account_refused = bool(words) and self.is_account_refused(answer, document)
        wait = retry_after(answer.headers, self.access.now)
        return DeliveryError(
            f"{self.product} answered {answer.status}: {told}",
            # what something before the CRM says may be about this one request, or pass
            permanent=bool(words) and not is_account_refused and not self.may_succeed_later(answer, document),
            retry_after=self.pause(answer) if wait is None else wait,
            status=answer.status,
            refused_account=is_account_refused,
            ambiguous=answer.status >= 500,
            answer=said,
        )
