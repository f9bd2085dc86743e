"""What a server must not say, and what the tag must not believe."""

import json
from typing import Any

from router.lib.phones import page_rules


def answered(value: object, status: int = 201) -> tuple[int, bytes]:
    return status, value if isinstance(value, bytes) else json.dumps(value).encode()


def visit(*numbers: dict[str, Any]) -> dict[str, Any]:
    """A good answer to a page view."""
    asked = {"visit": 1, "visitor": "v", "token": "t", "alive_every": 45}
    return asked | {"numbers": list(numbers), "rules": page_rules(None)}


def nonsense(given: dict[str, Any]) -> list[tuple[int, bytes]]:
    """Answers that have one thing wrong each, about a number that would be shown otherwise."""
    good = visit(given)
    wrong_numbers: list[dict[str, Any]] = [
        {"e164": "4155550123"},
        {"e164": None},
        {"selectors": "#p"},
        {"selectors": [7]},
        {"spellings": None},
        {"spellings": [4155550123]},
        {"written": None},
        {"written": [["[", "415-555-0123"]]},
        {"written": [[".*"]]},
        {"written": [[".*\\n.*", ""]]},
        {"display": ""},
        {"display": {"x": 1}},
        {"scenario": "1"},
    ]
    return [
        answered(b"<html>Welcome to our hotel's network</html>"),
        answered(b""),
        answered([1]),
        answered({}),
        answered(good, 200),
        answered(good | {"token": "../../x"}),
        answered(good | {"token": None}),
        answered({name: value for name, value in good.items() if name != "token"}),
        answered(good | {"visitor": "a; path=/"}),
        answered(good | {"numbers": {"0": "x"}}),
        *(answered(good | {"numbers": [given | wrong]}) for wrong in wrong_numbers),
        answered(good | {"numbers": [None]}),
        answered(good | {"rules": None}),
        answered(good | {"rules": {"before": "", "after": "", "number": "", "never": "", "other": ""}}),
        answered({"type": "about:blank"}, 500),
    ]
