"""The wizard's fields: a document as what its steps show, and what was typed as a document. What was typed comes back as it was typed.

The six steps of the wizard (R2), and which of them a field of a scenario's document belongs to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import MultiDict

from router.lib.formats import parse_int, parse_money, plain_money
from router.scenarios.documents import ScenarioPart
from router.scenarios.flows import DEFAULT_RING_SECONDS
from router.scenarios.models import DEFAULT_HOLD_SECONDS

Values = dict[str, Any]
"""`{title, <step>: what was typed in it}`: texts as they were typed, rows with the empty ones among them."""
Form = MultiDict[str, str]

MOST_ROWS = {"destinations": 10, "channels": 200}
COLUMNS = {"destinations": ("to", "ring_seconds"), "channels": ("source", "medium", "campaign", "gets")}
STEP_OF_ROWS = {"destinations": "forwarding", "channels": "channels"}
TERMS = (
    "only_sources",
    "excluded_sources",
    "only_landing_pages",
    "excluded_landing_pages",
    "only_regions",
    "excluded_regions",
)
SHORTAGE = ("aim", "exhausted", "overflow", "hold_seconds")
"""What the numbers have to tell, and what happens when they do not suffice."""
SEARCH = ("country", "area_code", "contains")
MATCH = ("source", "medium", "campaign")
DYNAMIC = "dynamic"
"""What a row of channels gets, if not a number."""


def clean_form(form: Form) -> Form:
    """Without what no database stores."""
    return MultiDict((name, value.replace("\0", "").strip()) for name, value in form.items(multi=True))


def read_step(step: str, form: Form, parts: Iterable[ScenarioPart], before: Values) -> Any:
    """What was typed in a step. `before` is what the draft holds of it: secrets that are not typed again stay."""
    if step == "integrations":
        kept = before.get("parts", {})
        typed = {part.name: part.read_form(form, kept.get(part.name)) for part in parts}
        return {"manager": form.get("manager", ""), "parts": typed}
    return READERS[step](form)


def _read_numbers(form: Form) -> Values:
    to_buy = {name: form.get(f"to_buy.{name}", "") for name in ("count", *SEARCH)}
    upkeep = {name: form.get(f"upkeep.{name}", "") for name in ("spending_limit", "max_numbers")}
    return {
        "numbers": form.getlist("numbers"),
        "own": form.get("own", ""),
        **{name: form.get(name, "") for name in SHORTAGE},
        "to_buy": to_buy | {"numbers": list(dict.fromkeys(form.getlist("to_buy.numbers")))},
        "upkeep": upkeep | {"on": bool(form.get("upkeep.on"))},
    }


def _read_rows(name: str) -> Callable[[Form], Values]:
    def read(form: Form) -> Values:
        columns = COLUMNS[name]
        rows = [
            {column: form.get(f"{name}.{index}.{column}", "") for column in columns}
            for index in range(MOST_ROWS[name])
            if any(f"{name}.{index}.{column}" in form for column in columns)
        ]
        return {name: rows}

    return read


def _read_texts(prefix: str, names: Iterable[str]) -> Callable[[Form], Values]:
    names = tuple(names)
    return lambda form: {name: form.get(f"{prefix}.{name}", "") for name in names}


READERS: dict[str, Callable[[Form], Values]] = {
    "numbers": _read_numbers,
    "forwarding": _read_rows("destinations"),
    "tagging": _read_texts("tagging", ("selectors", "replace", "format", "sample")),
    "channels": _read_rows("channels"),
    "terms": _read_texts("terms", TERMS),
}


def filled(row: Mapping[str, str]) -> bool:
    """Whether anything was typed into a row; the choice that every row has does not count."""
    return any(value for value in row.values() if value != DYNAMIC)


def rows_in_use(values: Values, name: str) -> list[tuple[int, dict[str, str]]]:
    """The rows that count, each with its place among all that stand in the form."""
    rows = values.get(STEP_OF_ROWS[name], {}).get(name, [])
    return [(index, row) for index, row in enumerate(rows) if filled(row)]


def values_of_document(document: Mapping[str, Any], parts: Iterable[ScenarioPart], currency: str) -> Values:
    """What the steps show of a stored scenario (of `{}` for a new one)."""
    flow, tagging, terms = document.get("flow") or {}, document.get("tagging") or {}, document.get("terms") or {}
    return {
        "title": document.get("title", ""),
        "numbers": _numbers_shown(document, currency),
        "forwarding": {"destinations": [dict(one) for one in flow.get("destinations", [])]},
        "tagging": {
            "selectors": "\n".join(tagging.get("selectors", [])),
            "replace": "\n".join(tagging.get("replace", [])),
            "format": tagging.get("format", ""),
            "sample": "",
        },
        "channels": {"channels": [_channel_shown(one) for one in document.get("channels") or []]},
        "integrations": {
            "manager": document.get("manager") or "",
            "parts": {part.name: document.get(part.name) or {} for part in parts},
        },
        "terms": {name: "\n".join(terms.get(name) or []) for name in TERMS},
    }


def _numbers_shown(document: Mapping[str, Any], currency: str) -> Values:
    to_buy, upkeep = document.get("to_buy") or {}, document.get("upkeep") or {}
    limit = upkeep.get("spending_limit_minor")
    return {
        "numbers": list(document.get("numbers", [])),
        "own": "",
        **{name: str(document.get(name) or "") for name in SHORTAGE},
        "to_buy": {name: str(to_buy.get(name) or "") for name in ("count", *SEARCH)}
        | {"numbers": list(to_buy.get("numbers") or [])},
        "upkeep": {
            "on": bool(upkeep.get("on")),
            "spending_limit": "" if limit is None else plain_money(limit, currency),
            "max_numbers": str(upkeep.get("max_numbers") or ""),
        },
    }


def _channel_shown(channel: Mapping[str, Any]) -> dict[str, str]:
    match = channel.get("match") or {}
    shown = {name: str(match.get(name) or "") for name in MATCH}
    return shown | {"gets": str(channel.get("number") or DYNAMIC)}


def document_of_values(
    values: Values, parts: Iterable[ScenarioPart], currency: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """The document that the steps describe, without the numbers that are yet to be added, and errors by its dotted fields."""
    numbers, tagging, terms = values["numbers"], values["tagging"], values["terms"]
    destinations = [_destination(row) for _, row in rows_in_use(values, "destinations")]
    upkeep, errors = _upkeep(numbers["upkeep"], currency)
    document = {
        "title": values["title"],
        "numbers": list(numbers["numbers"]),
        "aim": numbers["aim"] or "visit",
        "exhausted": numbers.get("exhausted") or "share",
        "overflow": numbers.get("overflow") or None,
        "hold_seconds": _whole(numbers.get("hold_seconds") or str(DEFAULT_HOLD_SECONDS)),
        "to_buy": _to_buy(numbers["to_buy"]),
        "upkeep": upkeep,
        "flow": {"destinations": destinations} if destinations else None,
        "tagging": {
            "selectors": lines_of(tagging["selectors"]),
            "replace": lines_of(tagging["replace"]),
            "format": tagging["format"],
        },
        "channels": [_channel(row) for _, row in rows_in_use(values, "channels")],
        "terms": {name: lines_of(terms[name]) for name in TERMS},
        "manager": values["integrations"]["manager"],
    }
    typed = values["integrations"]["parts"]
    return document | {part.name: part.member(typed.get(part.name)) for part in parts}, errors


def _to_buy(typed: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {"numbers": typed["numbers"], "count": _whole(typed["count"] or "0")}
    if not typed["numbers"] and wanted["count"] == 0:
        return {}
    return wanted | {name: typed[name] for name in SEARCH}


def _upkeep(typed: Mapping[str, Any], currency: str) -> tuple[dict[str, Any], dict[str, str]]:
    upkeep: dict[str, Any] = {"on": typed["on"], "spending_limit_minor": None, "max_numbers": None}
    if typed["max_numbers"]:
        upkeep["max_numbers"] = _whole(typed["max_numbers"])
    if typed["spending_limit"]:
        try:
            upkeep["spending_limit_minor"] = parse_money(typed["spending_limit"], currency)
        except ValueError:
            example = plain_money(parse_money("25", currency), currency)
            return upkeep, {"upkeep.spending_limit_minor": f"Write an amount of {currency}, like {example}."}
    return upkeep, {}


def _channel(row: Mapping[str, str]) -> dict[str, Any]:
    match = {name: row[name] for name in MATCH if row[name]}
    if row["gets"] in ("", DYNAMIC):
        return {"match": match, "kind": "dynamic"}
    return {"match": match, "kind": "static", "number": row["gets"]}


def _destination(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"to": row["to"], "ring_seconds": _whole(str(row["ring_seconds"] or DEFAULT_RING_SECONDS))}


def _whole(text: str) -> int | str:
    """What is no number stays as it was typed, and is refused where the document is read."""
    return text if (number := parse_int(text)) is None else number


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


class FieldErrors:
    """Errors by dotted fields of the document, as the form asks for them: by the element where each was typed."""

    def __init__(self, errors: Mapping[str, str], values: Values) -> None:
        self.by_field = dict(errors)
        self._by_element: dict[str, list[str]] = {}
        for field, said in errors.items():
            self._by_element.setdefault(element_of(field, values), []).append(said)

    def __bool__(self) -> bool:
        return bool(self.by_field)

    def within(self, prefix: str) -> bool:
        return any(element.startswith(f"{prefix}.") for element in self._by_element)

    def at(self, element: str) -> str:
        """All that concerns this element and its lines, as one text."""
        return " ".join(self._by_element.get(element, ()))


ROWS_OF = {"flow.destinations": "destinations", "channels": "channels"}


def element_of(field: str, values: Values) -> str:
    """The id of the form's element where a field of the document is typed: `destinations.2.to`, `tagging.selectors`."""
    for prefix, name in ROWS_OF.items():
        if field.startswith(f"{prefix}."):
            return _element_of_row(name, field.removeprefix(f"{prefix}.").split("."), values)
        if field == prefix:
            return f"{name}.0.{COLUMNS[name][0]}"
    parts = [part for part in field.split(".") if not part.isdigit()]
    kept = {"numbers": 1, "own": 1, "title": 1, "manager": 1, "aim": 1, "exhausted": 1}.get(
        parts[0] if parts else "", 3
    )
    return {
        "upkeep": "upkeep.on",
        "to_buy": "to_buy.count",
        "upkeep.spending_limit_minor": "upkeep.spending_limit",
    }.get(element := ".".join(parts[:kept]), element)


def _element_of_row(name: str, rest: list[str], values: Values) -> str:
    used = rows_in_use(values, name)
    at = int(rest[0]) if rest[0].isdigit() else 0
    row = used[at][0] if at < len(used) else 0
    named = ["gets" if part in ("number", "kind") else part for part in rest[1:]]
    column = next((part for part in named if part in COLUMNS[name]), COLUMNS[name][0])
    return f"{name}.{row}.{column}"


@dataclass(frozen=True)
class Step:
    """`decides` is the one sentence of the step; `default` says what holds when an optional one is left alone."""

    name: str
    title: str
    decides: str
    default: str = ""

    @property
    def optional(self) -> bool:
        return bool(self.default)

    @property
    def place(self) -> int:
        """1 to 6."""
        return NAMES.index(self.name) + 1


STEPS = (
    Step("numbers", "Numbers", "Which numbers visitors are shown, and how many there are."),
    Step("forwarding", "Forwarding", "Where calls to these numbers ring."),
    Step("tagging", "Tagging", "What is replaced on your pages, and how the number is written there."),
    Step(
        "channels",
        "Channels",
        "Which marketing sources get a number of each visit, and which one that never changes.",
        "Left as it is, every source gets dynamic numbers.",
    ),
    Step(
        "integrations",
        "Integrations",
        "Who is told about calls: your systems, analytics, the CRM.",
        "Left empty, calls are listed here and nobody is told.",
    ),
    Step(
        "terms",
        "Terms",
        "Which visitors are shown a number at all.",
        "Left empty, every visitor is.",
    ),
)
NAMES = [step.name for step in STEPS]
BY_NAME = {step.name: step for step in STEPS}
ANY = f"any({','.join(NAMES)})"
"""The URL converter of a step's name."""

_OF_MEMBER = {
    "flow": "forwarding",
    "tagging": "tagging",
    "channels": "channels",
    "static": "channels",
    "integrations": "integrations",
    "manager": "integrations",
    "terms": "terms",
}


def step_of(field: str) -> Step:
    """The step where a dotted field (`flow.destinations.0.to`) is typed; whatever stands on every step counts to the first."""
    return BY_NAME[_OF_MEMBER.get(field.split(".")[0], "numbers")]


def neighbour(step: Step, offset: int) -> Step | None:
    place = NAMES.index(step.name) + offset
    return STEPS[place] if 0 <= place < len(STEPS) else None
