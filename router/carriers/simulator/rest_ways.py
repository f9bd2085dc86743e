"""How the simulated carrier's REST side misbehaves: late, dead, broken or lying, for each kind of request. Tests choose it."""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

KINDS = ("countries", "search", "price", "list", "fetch", "buy", "update", "release")

What = Literal["well", "late", "dead", "answer", "cut", "drip", "omit"]


@dataclass(frozen=True)
class Way:
    """One misbehaviour.

    `late`: answers after `seconds`. `dead`: ends the connection without an answer. `answer`: `status` and `body` instead of the
    true ones. `cut`: half of the true answer. `drip`: the true answer, a byte every `seconds`. `omit`: a list without `number`
    (empty: without any). `done` tells whether what was asked for is really done; for a `late` one, whether it is done before the
    wait or after it.
    """

    what: What = "well"
    done: bool = True
    seconds: float = 0.0
    status: int = 500
    body: str = ""
    kind: str = "application/json"
    retry_after: str = ""
    number: str = ""

    @classmethod
    def late(cls, seconds: float, *, done: bool = True) -> "Way":
        return cls("late", done, seconds)

    @classmethod
    def dead(cls, *, done: bool) -> "Way":
        return cls("dead", done)

    @classmethod
    def too_many(cls, retry_after: str = "") -> "Way":
        return cls(
            "answer", False, status=429, body=error_body(429, 20429, "Too Many Requests"), retry_after=retry_after
        )

    @classmethod
    def broken(cls, *, done: bool, status: int = 500) -> "Way":
        return cls("answer", done, status=status, body=error_body(status, 20500, "Internal Server Error"))

    @classmethod
    def html(cls, *, done: bool, status: int = 200) -> "Way":
        return cls(
            "answer", done, status=status, body="<html><body>Sign in to the Wi-Fi</body></html>", kind="text/html"
        )

    @classmethod
    def cut(cls, *, done: bool = True) -> "Way":
        return cls("cut", done)

    @classmethod
    def drips(cls, seconds: float) -> "Way":
        return cls("drip", seconds=seconds)

    @classmethod
    def refuses(cls, code: int, message: str = "", *, done: bool = False, status: int = 400) -> "Way":
        """Says an error of Twilio; with `done` it lies."""
        return cls("answer", done, status=status, body=error_body(status, code, message))

    @classmethod
    def says_taken(cls, *, done: bool = True) -> "Way":
        return cls.refuses(21422, "PhoneNumber is not available", done=done)

    @classmethod
    def omits(cls, number: str = "") -> "Way":
        return cls("omit", number=number)


WELL = Way()
Chooser = Callable[[str, Mapping[str, str]], Way | None]
"""Chooses a way for a request by its kind and values; None: it is done well."""


class RestWays:
    """What happens to the next requests of each kind: a queue first, then a function, then all goes well."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Way]] = {kind: deque() for kind in KINDS}
        self._choosers: dict[str, Chooser] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Every request since the start: its kind and values."""

    def queue(self, kind: str, *ways: Way, times: int = 1) -> None:
        """These, one after the other, `times` times."""
        with self._lock:
            self._queues[kind].extend(ways * times)

    def choose(self, kind: str, chooser: Chooser | None) -> None:
        """A function for all requests of a kind that find no queue; None takes it away."""
        with self._lock:
            self._choosers.pop(kind, None)
            if chooser is not None:
                self._choosers[kind] = chooser

    def always(self, kind: str, way: Way) -> None:
        self.choose(kind, lambda *_: way)

    def clear(self) -> None:
        with self._lock:
            self._choosers.clear()
            for queue in self._queues.values():
                queue.clear()

    def next(self, kind: str, values: Mapping[str, str]) -> Way:
        with self._lock:
            self.asked.append((kind, dict(values)))
            if self._queues[kind]:
                return self._queues[kind].popleft()
            chooser = self._choosers.get(kind)
        return (chooser(kind, values) if chooser else None) or WELL


def read_way(document: Mapping[str, Any]) -> Way:
    """A way from JSON with the fields of `Way`.

    Raises:
        ValueError, TypeError: it is none.
    """
    known = {one.name for one in fields(Way)}
    if unknown := set(document) - known:
        raise ValueError(f"a way has no {sorted(unknown)[0]}")
    return Way(**document)


def error_body(status: int, code: int, message: str) -> str:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return json.dumps({"code": code, "message": message, "more_info": more, "status": status})
