"""The site's own fields of a visit: what its pages call `params`, a text to each name."""

import math
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from router.web.errors import Problem

MOST_FIELDS = 20
LONGEST_TEXT = 200
NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def read_params(body: Mapping[str, Any]) -> dict[str, str]:
    """Of `params: {name: text}`; what does not fit is dropped, since pages put anything there.

    Raises:
        Problem: 422, it is no object.
    """
    posted = body.get("params")
    if not isinstance(posted, dict | None):
        raise Problem(422, "params has to be an object of names and texts.", "params")
    told = ((name, _field_text(value)) for name, value in (posted or {}).items() if NAME.fullmatch(name))
    return dict(islice(((name, text) for name, text in told if text is not None), MOST_FIELDS))


def _field_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)[:LONGEST_TEXT]
    return None


def merged(before: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """The later text of a name stands; a visit has no more fields than one page may tell."""
    room = MOST_FIELDS - len(before)
    new = dict(islice(((name, text) for name, text in told.items() if name not in before), max(room, 0)))
    return {**before, **{name: text for name, text in told.items() if name in before}, **new}
