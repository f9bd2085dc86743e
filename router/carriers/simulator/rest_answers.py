"""Requests and answers of the simulated carrier's REST side, with Twilio's error documents."""

import json
from dataclasses import dataclass
from typing import Any

from router.carriers.simulator.rest_ways import error_body
from router.carriers.simulator.server import Reply


@dataclass(frozen=True)
class Request:
    """`kind` is what the ways of misbehaving go by; `rest` is the last part of its path: a country and type, or a sid."""

    kind: str
    values: dict[str, str]
    rest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any = None
    kind: str = "application/json"
    retry_after: str = ""

    def reply(self) -> Reply:
        body = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return self.status, self.kind, b"" if self.body is None else body.encode()


def refused(code: int, message: str, status: int = 400) -> Answer:
    return Answer(status, error_body(status, code, message))


def not_found() -> Answer:
    return refused(20404, "The requested resource was not found", 404)


def not_signed_in() -> Answer:
    return refused(20003, "Authenticate", 401)
