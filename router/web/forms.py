"""What all forms of pages have in common: rows, errors at their fields, the choices of selects, and buttons that act at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, get_args, get_origin
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from flask import flash, jsonify, redirect, request
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from werkzeug.wrappers import Response
from wtforms import BooleanField, Field, FieldList, FormField, StringField
from wtforms import Form as WTForm

from router.lib.formats import CURRENCIES, named_countries, parse_int, parse_money
from router.web.errors import Problem


class Form(WTForm):
    """Forms keep what was typed as it was typed; what they describe is checked by the schema of the thing, for programs and people alike.
    The token of every POST is checked before (CSRFProtect)."""

    PATHS: ClassVar[Mapping[str, str]] = {}
    """Where the errors of a field are told in the schema's document, if not under its name."""

    def by_path(self, within: str = "") -> dict[str, Field]:
        """The fields by the dotted path under which the schema tells their errors. Rows without content are not in the document."""
        fields: dict[str, Field] = {}
        for name, field in self._fields.items():
            path = within + self.PATHS.get(name, name)
            inner: dict[str, Field] = {}
            if isinstance(field, FormField):
                inner = field.form.by_path(f"{path}.")
            elif isinstance(field, Rows):
                inner = field.by_path(path)
            fields[path] = next(iter(inner.values()), field)
            fields |= inner
        return fields

    def is_used(self) -> bool:
        return any(self.data.values())

    def refuse(self, problem: Problem) -> None:
        """Tells each field what is wrong with it; what no field of the form is about stands in `form_errors`."""
        fields = self.by_path()
        for path, sentence in (problem.more.get("errors") or {problem.field or "": problem.detail}).items():
            field = nearest(fields, path)
            if field is None:
                self.form_errors.append(sentence)
            else:
                field.errors = [*field.errors, sentence]


def nearest(fields: Mapping[str, Field], path: str) -> Field | None:
    """The field where a dotted path of the document is typed, or the nearest member that holds it."""
    while path and path not in fields:
        path = path.rpartition(".")[0]
    return fields.get(path)


def amount_of(field: Field, currency: str, member: str) -> int:
    """What was typed as an amount, in minor units.

    Raises:
        Problem: 422 for this member of the schema: it is no amount.
    """
    try:
        return parse_money(field.data, currency)
    except ValueError as error:
        raise Problem(422, str(error), member) from None


class Part(FormField):
    """A form within a form. `optional`: without content there is no such member."""

    def __init__(self, form_class: type["Form"], optional: bool = False, **options: Any) -> None:
        super().__init__(form_class, separator=".", **options)
        self.optional = optional

    def member(self) -> dict[str, Any] | None:
        return None if self.optional and not self.form.is_used() else self.form.document()


class Rows(FieldList):
    """Rows that can be added, removed and moved, each a form of its own."""

    def __init__(self, unbound_field: Any, **options: Any) -> None:
        super().__init__(unbound_field, separator=".", **options)

    def _extract_indices(self, prefix: str, formdata: Iterable[str]) -> Iterator[int]:
        start = f"{prefix}."
        for name in formdata:
            if name.startswith(start):
                index = name[len(start) :].partition(".")[0]
                if (at := parse_int(index, greatest=999)) is not None:
                    yield at

    def used(self) -> list[FormField]:
        return [entry for entry in self.entries if entry.form.is_used()]

    def member(self) -> Any:
        return [row.form.document() for row in self.used()]

    def by_path(self, path: str) -> dict[str, Field]:
        """The fields of the rows by the path of the list; what is missing is told at the first row."""
        fields: dict[str, Field] = {}
        for index, row in enumerate(self.used()):
            cells = row.form.by_path(f"{path}.{index}.")
            fields |= {f"{path}.{index}": next(iter(cells.values()), row)} | cells
        return fields or (self.entries[0].form.by_path(f"{path}.0.") if self.entries else {})

    def change(self, verb: str, index: str) -> None:
        """`add`, `remove`, `up` or `down`; an index without a row changes nothing."""
        row = parse_int(index)
        at = -1 if row is None else row
        if verb == "add":
            for _ in range(1 if self.entries or not self.default else 2):
                if len(self.entries) < self.max_entries:
                    self.append_entry({})
        elif not 0 <= at < len(self.entries):
            return
        elif verb == "remove":
            self.pop_entry(at)
        elif verb in ("up", "down"):
            self.entries.insert(max(at - 1, 0) if verb == "up" else at + 1, self.entries.pop(at))


class FieldErrors:
    """Sentences by the name of the field where each was typed, for fields that no form of ours declares."""

    def __init__(self, errors: Iterable[tuple[str, str]]) -> None:
        self._errors: dict[str, str] = {}
        for name, sentence in errors:
            self._errors[name] = f"{self._errors[name]} {sentence}" if name in self._errors else sentence

    def at(self, name: str) -> str:
        return self._errors.get(name, "")

    def within(self, prefix: str) -> bool:
        return any(name.startswith(f"{prefix}.") for name in self._errors)


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


class TextField(StringField):
    """A text, or one of some choices. Left empty, it is what the schema takes for it (`empty`). A list is shown with `separator`."""

    def __init__(self, label: str | None = None, empty: Any = "", separator: str = "\n", **options: Any) -> None:
        super().__init__(label, **options)
        self.empty, self.separator = empty, separator

    def process_data(self, value: Any) -> None:
        self.data = self.separator.join(value) if isinstance(value, list) else "" if value is None else str(value)

    def process_formdata(self, valuelist: list[str]) -> None:
        if valuelist:
            self.data = valuelist[0].replace("\0", "")  # no database stores it

    def member(self) -> Any:
        return self.data or self.empty


class NumberField(TextField):
    """A whole number. What is none stays as it was typed, and is refused by the schema."""

    def process_data(self, value: Any) -> None:
        super().process_data(None if value == self.empty and not value else value)

    def member(self) -> Any:
        text = super().member()
        number = parse_int(text) if isinstance(text, str) else None
        return text if number is None else number


class LinesField(TextField):
    def member(self) -> list[str]:
        return lines_of(self.data)


class SwitchField(BooleanField):
    def member(self) -> bool:
        return bool(self.data)


def field_of(member: FieldInfo) -> Any:
    if member.annotation is bool:
        return SwitchField()
    if get_origin(member.annotation) is list:
        return LinesField()
    empty = "" if member.is_required() else member.default
    return NumberField(empty=empty) if _is_whole_number(member.annotation) else TextField(empty=empty)


def _is_whole_number(annotation: Any) -> bool:
    return annotation is int or any(_is_whole_number(argument) for argument in get_args(annotation))


class SchemaForm(Form):
    """Has a field for each of the `members` of its `schema` that is no model itself, beside those that its class declares."""

    schema: ClassVar[type[BaseModel]]
    members: ClassVar[Iterable[str] | None] = None
    """None: all."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in cls.schema.model_fields if cls.members is None else cls.members:
            if not hasattr(cls, name):
                setattr(cls, name, field_of(cls.schema.model_fields[name]))

    def document(self) -> dict[str, Any]:
        """What was typed, as the schema's members."""
        document: dict[str, Any] = {}
        for name, field in self._fields.items():
            if name in self.schema.model_fields:
                document[name] = field.member()
        return document


AREAS = (
    "Africa/",
    "America/",
    "Antarctica/",
    "Arctic/",
    "Asia/",
    "Atlantic/",
    "Australia/",
    "Europe/",
    "Indian/",
    "Pacific/",
)

COUNTRIES = [("", "None: numbers are typed with +"), *named_countries()]
CURRENCY_CHOICES = [(code, code) for code in sorted(CURRENCIES)]
ROLES = [
    ("owner", "Owner: everything, people and tokens too"),
    ("admin", "Admin: changes scenarios and numbers"),
    ("viewer", "Viewer: reads"),
]
REPEAT_CREDITS = [
    ("first_call", "The source of the caller's first call"),
    ("last_non_direct", "The last known source that is not direct"),
    ("own_visit", "This call's own visit"),
]
TELL_INTERNAL = [
    ("nobody", "Nobody"),
    ("webhooks", "Webhooks, where they stand as internal"),
    ("all", "Everybody: CRM and analytics too"),
]
BLOCKED_ANSWERS = [
    ("busy", "The line is busy"),
    ("not_in_service", "The number is not in service"),
    ("sentence", "A sentence"),
]
CONSENT_CHOICES = [
    ("full", "A number, with cookie and click ids"),
    ("limited", "A number, without cookie or click ids"),
    ("none", "No number: the page keeps its own"),
]


@cache  # the system's zones are files in many folders
def timezone_choices() -> list[tuple[str, str]]:
    names = sorted(name for name in available_timezones() if name.startswith(AREAS))
    return [(name, name.replace("_", " ")) for name in ("UTC", *names)]


def local_path(address: str | None) -> str | None:
    """The address if it is a path of this server, else None: nobody is led elsewhere by a link to the sign-in page."""
    if not address or not address.startswith("/") or "\\" in address or any(ord(sign) < 33 for sign in address):
        return None
    parts = urlsplit(address)
    return None if parts.scheme or parts.netloc or address.startswith("//") else address


def row_action(do: Callable[[], str], otherwise: str) -> Response:
    """Calls `do`, and says what it returns, or why it was refused.

    Programs of ours ask for JSON and get `{said}` or a problem; a form is led back to its field `back`, else to `otherwise`;
    a refusal with a `review` page leads there.

    Raises:
        Problem: what was to be changed is not there, for a form.
    """
    by_script = request.accept_mimetypes.best == "application/json"
    try:
        said = do()
    except Problem as refusal:
        if by_script:
            return refusal.response()
        if refusal.status == 404:
            raise
        flash(refusal.detail, "bad")
        if review := refusal.more.get("review"):
            return redirect(str(review))
    else:
        if by_script:
            return jsonify(said=said)
        flash(said)
    return redirect(local_path(request.form.get("back")) or otherwise)
