"""A small stand-in for Google's collection and validation server: answers 2xx to all, and notes what breaks the published rules."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integrations.receiver import Request

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
RESERVED = {"ad_click", "app_remove", "error", "first_open", "first_visit", "session_start", "user_engagement"}
CLIENT = re.compile(r"\d+\.\d+|amp-[\w-]+|(FPID\d\.\d\.)?[\w+/=%-]+\.\d+")


class Google:
    """`collect` is an answer function for `receiver`; `events` and `problems` are what came."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.bodies: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.queries: list[dict[str, list[str]]] = []

    def collect(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        self.queries.append(parse_qs(urlsplit(request.path).query))
        body = json.loads(request.body)
        self.bodies.append(body)
        self.problems += _problems(body)
        self.events += body.get("events", [])
        return 204, {}, b""


def _problems(body: dict[str, Any]) -> list[str]:
    found = [] if CLIENT.fullmatch(str(body.get("client_id"))) else ["client_id VALUE_INVALID"]
    if len(json.dumps(body)) > 130_000:
        found.append("body VALUE_OUT_OF_BOUNDS")
    events = body.get("events", [])
    if not 1 <= len(events) <= 25:
        found.append("events EXCEEDED_MAX_ENTITIES")
    for event in events:
        if not NAME.fullmatch(event["name"]):
            found.append("event NAME_INVALID")
        if event["name"] in RESERVED:
            found.append("event NAME_RESERVED")
        found += _param_problems(event["params"])
    return found


def _param_problems(params: dict[str, Any]) -> list[str]:
    found = ["params EXCEEDED_MAX_ENTITIES"] if len(params) > 25 else []
    found += [f"{name} NAME_INVALID" for name in params if not NAME.fullmatch(name)]
    found += [f"{name} VALUE_OUT_OF_BOUNDS" for name, value in params.items() if len(str(value)) > 100]
    found += [f"{name} VALUE_INVALID" for name, value in params.items() if value is None]
    found += ["phone number" for value in params.values() if re.search(r"\+\d{7,}", str(value))]
    return found
