"""Texts that others wrote (answers of receivers, carriers and mail servers, files) without what no database keeps and no page shows."""

import re
from typing import Any

NOT_PLAIN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def plain_text(text: str) -> str:
    """Without control characters, except line ends and tabs, and without halves of characters."""
    return NOT_PLAIN.sub("", text)


def plain_json(value: Any) -> Any:
    """A JSON document whose texts, names too, are plain.

    Raises:
        RecursionError: it is nested too deeply.
    """
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, list):
        return [plain_json(item) for item in value]
    if isinstance(value, dict):
        return {plain_text(name): plain_json(item) for name, item in value.items()}
    return value
