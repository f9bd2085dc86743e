"""The scenario form: a document as fields, and fields as a document. What was typed comes back as it was typed."""

from collections.abc import Iterable, Mapping
from typing import Any

from werkzeug.datastructures import MultiDict

from router.scenarios.flows import DEFAULT_RING_SECONDS
from router.scenarios.parts import ScenarioPart

Values = dict[str, Any]
"""`{title, aim, numbers: [e164], destinations: [{to, ring_seconds}], static: [{number, source, medium, campaign}],
selectors, replace, format, ...one member for each part}`; selectors and replace are lines of one text."""

MOST_ROWS = {"destinations": 10, "static": 200}
COLUMNS = {"destinations": ("to", "ring_seconds"), "static": ("number", "source", "medium", "campaign")}
KEYS = {"destinations": "to", "static": "number"}


def values_of_document(document: Mapping[str, Any]) -> Values:
    """What the form shows of a stored scenario (of `{}` for a new one)."""
    flow, tagging = document.get("flow") or {}, document.get("tagging") or {}
    static = document.get("static") or {}
    return {
        "title": document.get("title", ""),
        "aim": document.get("aim", "visit"),
        "numbers": document.get("numbers", []),
        "destinations": flow.get("destinations", []),
        "static": [{"number": number} | source for number, source in static.items()],
        "selectors": "\n".join(tagging.get("selectors", [])),
        "replace": "\n".join(tagging.get("replace", [])),
        "format": tagging.get("format", ""),
    }


def read_values(form: MultiDict[str, str]) -> Values:
    """What was typed; rows without their first field are not there."""
    clean = MultiDict((name, value.replace("\0", "").strip()) for name, value in form.items(multi=True))
    single = {name: clean.get(name, "") for name in ("title", "aim", "selectors", "replace", "format")}
    return single | {"numbers": clean.getlist("numbers")} | {name: _rows(clean, name) for name in COLUMNS}


def _rows(form: Mapping[str, str], name: str) -> list[dict[str, str]]:
    """Rows `destinations.0.to`, `destinations.0.ring_seconds`, … in their order."""
    rows = [
        {column: form.get(f"{name}.{index}.{column}", "") for column in COLUMNS[name]}
        for index in range(MOST_ROWS[name])
    ]
    return [row for row in rows if row[KEYS[name]]]


def document_of_values(values: Values, enabled: bool) -> dict[str, Any]:
    """The scenario's document that the form describes, without the parts."""
    destinations = [_destination(row) for row in values["destinations"]]
    static = {row["number"]: {name: row[name] for name in ("source", "medium", "campaign")} for row in values["static"]}
    return {
        "title": values["title"],
        "enabled": enabled,
        "numbers": values["numbers"],
        "static": static,
        "flow": {"destinations": destinations} if destinations else None,
        "tagging": {
            "selectors": _lines(values["selectors"]),
            "replace": _lines(values["replace"]),
            "format": values["format"],
        },
        "aim": values["aim"] or "visit",
    }


def _destination(row: Mapping[str, str]) -> dict[str, Any]:
    typed = str(row["ring_seconds"] or DEFAULT_RING_SECONDS)
    return {"to": row["to"], "ring_seconds": int(typed) if typed.isascii() and typed.isdigit() else typed}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def part_values(parts: Iterable[ScenarioPart], form: Mapping[str, str]) -> dict[str, Any]:
    return {part.name: part.read_form(form) for part in parts}


class FieldErrors:
    """Errors as the form asks for them: at a field, or of all lines and rows that one field stands for."""

    def __init__(self, errors: Mapping[str, str], values: Values) -> None:
        self.errors = dict(errors)
        self._values = values

    def __bool__(self) -> bool:
        return bool(self.errors)

    def at(self, field: str) -> str:
        return self.errors.get(field, "")

    def under(self, field: str) -> str:
        """All that concerns this field and its lines, as one text."""
        return " ".join(self._found(field).values())

    def static_row(self, index: int, column: str) -> str:
        """`static.+14155552671.source`, at the row that was typed."""
        number = self._values["static"][index]["number"] if index < len(self._values["static"]) else ""
        return self.at(f"static.{number}.{column}") or (self.at(f"static.{number}") if column == "number" else "")

    def _found(self, field: str) -> dict[str, str]:
        return {name: said for name, said in self.errors.items() if name == field or name.startswith(f"{field}.")}
