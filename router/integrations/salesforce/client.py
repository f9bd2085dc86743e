"""Salesforce's REST API with a token of the client credentials flow, and what its errors mean.

https://developer.salesforce.com/docs/platform/api-rest/guide/errorcodes.html
https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm"""

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import urlencode

from router.integrations.base import DeliveryError, excerpt, may_succeed_later, not_delivered, retry_after
from router.integrations.crm.client import JsonClient
from router.integrations.crm.connector import Access, FieldsRefused, RecordGone
from router.lib.http_client import Answer, Outgoing, OutgoingError

VERSION = "v65.0"
KEY = "Calltrack_Key__c"
"""Our own field of leads, unique: by it nothing is made twice."""
SOBJECTS = {"00Q": "Lead", "003": "Contact", "006": "Opportunity"}
"""By the first three letters of an id, which are the same in each Salesforce."""
DAILY_PAUSE = 900.0
PASSING = (
    "UNABLE_TO_LOCK_ROW",
    "REQUEST_LIMIT_EXCEEDED",
    "SERVER_UNAVAILABLE",
    "QUERY_TIMEOUT",
    "TXN_SECURITY_METERING",
)
GONE = ("NOT_FOUND", "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY")
COLUMN = re.compile(r"No such column '(\w+)'")
LONGEST_CACHE = 1000


@dataclass(frozen=True)
class Token:
    text: str
    organization: str
    user: str


_TOKENS: dict[str, Token] = {}
_LOCK = threading.Lock()


class SalesforceError(DeliveryError):
    """`codes`: Salesforce's own, such as DUPLICATE_VALUE."""

    codes: tuple[str, ...] = ()


class SalesforceClient(JsonClient):
    product = "Salesforce"

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access, access.config["url"], {})
        self.assigns = False
        """Whether the assignment rules of leads choose the owner, whoever is named; Salesforce's own default is that they do."""
        named = f"{self.url}\n{access.config['client_id']}\n{access.secret}"
        self._name = hashlib.blake2b(named.encode(), digest_size=16).hexdigest()

    def without_secret(self, text: str) -> str:
        token = _TOKENS.get(self._name)
        return super().without_secret(text.replace(token.text, "[secret]") if token else text)

    def token(self) -> Token:
        """That of this process, as long as Salesforce takes it.

        Raises:
            DeliveryError: Salesforce does not take key and secret.
        """
        token = _TOKENS.get(self._name)
        if token is None:
            token = self._new_token()
            with _LOCK:
                while len(_TOKENS) >= LONGEST_CACHE:
                    _TOKENS.pop(next(iter(_TOKENS)))
                _TOKENS[self._name] = token
        return token

    def _new_token(self) -> Token:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.access.config["client_id"],
            "client_secret": self.access.secret,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        address = f"{self.url}/services/oauth2/token"
        try:
            answer = self.outgoing.post(address, urlencode(form).encode(), headers, self.access.deadline)
        except OutgoingError as error:
            failed = not_delivered(error)
            failed.ambiguous = False  # a second token does no harm
            raise failed from None
        try:
            document = answer.json()
        except ValueError:
            document = None
        document = document if isinstance(document, dict) else {}
        if answer.status == 200 and document.get("access_token"):
            place = str(document.get("id") or "").rstrip("/").split("/")
            organization, user = place[-2:] if len(place) > 1 else ("", "")
            return Token(str(document["access_token"]), organization, user)
        said = self.without_secret(excerpt(answer, self.access.secret))
        words = f"{document.get('error')}: {document.get('error_description')}" if document.get("error") else said
        raise DeliveryError(
            f"Salesforce gave no token ({answer.status}): {self.without_secret(words)[:400]}",
            retry_after=retry_after(answer.headers, self.access.now),
            status=answer.status,
            refused_account=bool(document.get("error")) and not may_succeed_later(answer.status),
            answer=said,
        )

    def ask(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        is_known = self._name in _TOKENS
        self.headers = self._headers()
        try:
            return super().ask(method, path, query, body)
        except SalesforceError as error:
            if error.status != 401:
                raise
            with _LOCK:
                _TOKENS.pop(self._name, None)
            if not is_known:
                raise
        # the token was an old one: nothing was done with it
        self.headers = self._headers()
        return super().ask(method, path, query, body)

    def _headers(self) -> dict[str, str]:
        # an alert about duplicates keeps nobody from saving: whose lead it is was looked up already
        return {
            "Authorization": f"Bearer {self.token().text}",
            "Sforce-Duplicate-Rule-Header": "allowSave=true",
            "Sforce-Auto-Assign": str(self.assigns).upper(),
        }

    def words(self, answer: Answer, document: Any) -> str:
        errors = document if isinstance(document, list) else []
        return "; ".join(
            f"{one.get('errorCode')}: {one.get('message')}"
            for one in errors
            if isinstance(one, dict) and "errorCode" in one
        )

    def is_account_refused(self, answer: Answer, document: Any) -> bool:
        return answer.status in (401, 402) or (answer.status == 403 and not self._passes(document))

    def may_succeed_later(self, answer: Answer, document: Any) -> bool:
        return may_succeed_later(answer.status) or self._passes(document)

    def _passes(self, document: Any) -> bool:
        return isinstance(document, list) and any(one.get("errorCode") in PASSING for one in document)

    def error(self, answer: Answer, document: Any) -> DeliveryError:
        plain = super().error(answer, document)
        if not self.words(answer, document):
            return plain
        codes = tuple(str(one.get("errorCode")) for one in document)
        if answer.status == 404 or "ENTITY_IS_DELETED" in codes:
            return RecordGone(str(plain), status=answer.status, answer=plain.answer)
        refused = refused_fields(document) if answer.status == 400 and "DUPLICATE_VALUE" not in codes else {}
        if refused and plain.permanent:
            told = {name: self.without_secret(words) for name, words in refused.items()}
            return FieldsRefused(str(plain), told, answer.status)
        wait = DAILY_PAUSE if "REQUEST_LIMIT_EXCEEDED" in codes else plain.retry_after
        error = SalesforceError(
            str(plain),
            plain.permanent,
            wait,
            status=plain.status,
            refused_account=plain.refused_account,
            ambiguous=plain.ambiguous,
            answer=plain.answer,
        )
        error.codes = codes
        return error

    # records

    def select(
        self, sobject: str, fields: Sequence[str], where: str = "", order: str = "", limit: int = 50, offset: int = 0
    ) -> list[dict[str, Any]]:
        """SOQL reads the records as they are, without an index that lags. `where` holds literals by `quoted` alone."""
        parts = ["SELECT", ", ".join(fields), "FROM", sobject]
        parts += ["WHERE", where] if where else []
        parts += ["ORDER BY", order] if order else []
        soql = " ".join([*parts, "LIMIT", str(limit), *(["OFFSET", str(offset)] if offset else [])])
        answer = self.ask("GET", f"/services/data/{VERSION}/query", {"q": soql})
        if not isinstance(answer, dict) or not isinstance(answer.get("records"), list):
            raise self.unreadable()
        return list(answer["records"])

    def search(self, sosl: str) -> list[dict[str, Any]]:
        answer = self.ask("GET", f"/services/data/{VERSION}/search", {"q": sosl})
        if not isinstance(answer, dict) or not isinstance(answer.get("searchRecords"), list):
            raise self.unreadable()
        return list(answer["searchRecords"])

    def read(self, record: Any, fields: Sequence[str]) -> dict[str, Any]:
        """
        Raises:
            RecordGone
        """
        answer = self.ask("GET", self._path(record), {"fields": ",".join(fields)})
        if not isinstance(answer, dict):
            raise self.unreadable()
        return answer

    def create(self, sobject: str, values: Mapping[str, Any]) -> str:
        answer = self.ask("POST", f"/services/data/{VERSION}/sobjects/{sobject}", body=dict(values))
        if not isinstance(answer, dict) or not answer.get("success") or not answer.get("id"):
            raise self.unreadable()
        return str(answer["id"])

    def change(self, record: Any, values: Mapping[str, Any], sobject: str = "") -> None:
        self.ask("PATCH", self._path(record, sobject), body=dict(values))

    def _path(self, record: Any, sobject: str = "") -> str:
        return f"/services/data/{VERSION}/sobjects/{sobject or sobject_of(record)}/{record}"


def sobject_of(record: Any) -> str:
    return SOBJECTS.get(str(record)[:3], "Lead")


def refused_fields(document: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in document:
        words = " ".join(str(one.get("message", "")).split())
        column = COLUMN.search(words)  # behind the query itself
        words = words[-200:]
        for name in one.get("fields") or ([column.group(1)] if column else ()):
            found[str(name)] = words
    return found


def quoted(text: str) -> str:
    """A literal of SOQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def text_of(html: str) -> str:
    """An entry as lines of plain text, its links as addresses."""
    text = re.sub(r'<a href="([^"]*)">(.*?)</a>', r"\2: \1", html)
    text = re.sub(r"<br\s*/?>|</p>", "\n", text)
    return unescape(re.sub(r"<[^>]*>", "", text)).strip()
