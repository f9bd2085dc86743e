"""A CRM that remembers and speaks JSON: what the fakes of all such products share, and their world for the shared suite.

Searches go by an index that lags: a record is found when `index` was called after it was made or changed."""

import copy
import json
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from router.integrations.base import Message
from router.lib.http_client import Answer
from tests.integrations.crm_world import Line, World
from tests.integrations.odoo import new_number
from tests.people import NOW

LAG = timedelta(seconds=30)
Handler = Callable[..., Any]


class Refused(Exception):
    def __init__(self, status: int, document: Any, **headers: str) -> None:
        super().__init__(document)
        self.status, self.document, self.headers = status, document, headers


def said(status: int, document: Any = None, **headers: str) -> Answer:
    body = b"" if document is None else json.dumps(document).encode()
    kind = {} if document is None else {"content-type": "application/json"}
    return Answer(status, kind | headers, body, complete=True)


class JsonFake:
    """Answers as a transport. A subclass lists `routes` (method and pattern of a path, to the name of what answers)."""

    routes: ClassVar[tuple[tuple[str, str, str], ...]]

    def __init__(self) -> None:
        self.tables: dict[str, dict[Any, dict[str, Any]]] = {}
        self.indexed: dict[str, dict[Any, dict[str, Any]]] = {}
        self.number = 100
        self.asked: list[tuple[str, str, Any]] = []

    def table(self, name: str) -> dict[Any, dict[str, Any]]:
        return self.tables.setdefault(name, {})

    def next_id(self) -> int:
        self.number += 1
        return self.number

    def index(self) -> None:
        self.indexed = copy.deepcopy(self.tables)

    def check_key(self, path: str, headers: Mapping[str, str]) -> None:
        """
        Raises:
            Refused
        """

    def unknown_path(self) -> Refused:
        return Refused(404, {"error": "Not found"})

    def __call__(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = json.loads(content) if content else None
        self.asked.append((method, parts.path, body or query))
        try:
            self.check_key(parts.path, {name.lower(): value for name, value in headers.items()})
            for wanted, pattern, name in self.routes:
                if wanted == method and (found := re.fullmatch(pattern, parts.path)):
                    status, document = getattr(self, name)(*found.groups(), query=query, body=body)
                    return said(status, document)
            raise self.unknown_path()
        except Refused as refused:
            return said(refused.status, refused.document, **refused.headers)


class JsonWorld(World):
    """A world whose time lets the index of the fake catch up."""

    fake: JsonFake

    def __init__(self) -> None:
        super().__init__()
        self.transport = self.fake
        self.indexed_at = NOW
        self.begin()

    def begin(self) -> None:
        self.caller = new_number()
        self.known, self.steps = None, {}
        self.forget()
        self.fake.index()
        self.indexed_at = NOW

    @abstractmethod
    def forget(self) -> None:
        """Empties the CRM of what earlier callers left, so that the suite stays quick."""

    def deliver(self, message: Message, *faults: Any, **more: Any) -> int:
        self.fake.index()  # deliveries are minutes apart, attempts at one are not
        self.indexed_at = message.now
        return super().deliver(message, *faults, **more)

    def attempt(self, message: Message, line: Line) -> dict[str, Any]:
        if message.now - self.indexed_at >= LAG:
            self.fake.index()
            self.indexed_at = message.now
        return super().attempt(message, line)
