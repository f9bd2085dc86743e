"""Domains of the example Odoo: which records a search means, as Odoo 19 on PostgreSQL was seen to read them."""

import re
from collections.abc import Callable
from typing import Any

Record = dict[str, Any]
Test = Callable[[Record], bool]


class OdooError(Exception):
    """What Odoo answers instead: a status and the exception's name."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name


def matcher(domain: list[Any], value_of: Callable[[Record, str], Any]) -> Test:
    """A domain in Polish notation, terms joined by *and*. `value_of` reads a path like `partner_id.phone` of a record."""
    terms = list(domain)

    def term() -> Test:
        first = terms.pop(0)
        if first == "!":
            negated = term()
            return lambda record: not negated(record)
        if first in ("|", "&"):
            join = any if first == "|" else all
            pair = (term(), term())
            return lambda record: join(test(record) for test in pair)
        name, operator, operand = first
        holds = _holds(operator, operand)
        return lambda record: holds(value_of(record, name))

    tests = []
    while terms:
        tests.append(term())
    return lambda record: all(test(record) for test in tests)


def _holds(operator: str, operand: Any) -> Callable[[Any], bool]:
    if operator == "=":
        return lambda value: bool(value == operand)
    if operator == "in":
        return lambda value: value in operand
    if operator in ("=like", "=ilike", "ilike"):
        pattern = like(str(operand), anywhere=operator == "ilike", any_case=operator != "=like")
        return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))
    raise OdooError(500, "builtins.ValueError", f"Invalid operator {operator!r}")


def like(value: str, anywhere: bool, any_case: bool = True) -> re.Pattern[str]:
    """PostgreSQL's LIKE: `%` and `_` stand for anything, after a backslash for themselves. Takes linear time, as there."""
    value = f"%{value}%" if anywhere else value
    pieces = [""]
    for part in re.findall(r"\\.|.", value, re.DOTALL):
        if part == "%":
            pieces.append("")
        else:
            pieces[-1] += "." if part == "_" else re.escape(part[1:] if part[0] == "\\" and part[1:] else part)
    first, *more = pieces
    middle = "".join(f"(?>.*?{piece})" for piece in more[:-1])
    last = f".*{more[-1]}" if more else ""
    return re.compile(first + middle + last, re.DOTALL | (re.IGNORECASE if any_case else 0))
