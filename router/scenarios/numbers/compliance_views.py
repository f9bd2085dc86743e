"""Numbers, Bundles and addresses: what goes with orders where the law wants to know who uses a number; the same for programs."""

from dataclasses import asdict
from typing import Annotated, Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import AfterValidator, BaseModel, Field
from werkzeug.wrappers import Response

from router.accounts.audit import changing
from router.accounts.sessions import require_person, require_token
from router.carriers.accounts import sid_of_project
from router.carriers.base import NUMBER_KINDS, NumberKind
from router.lib.formats import named_countries, parse_country
from router.scenarios.fields import ExactSchema
from router.scenarios.models import NumberCompliance
from router.scenarios.numbers.compliance import (
    KIND_WORDS,
    NOT_HIS,
    Choices,
    choices_at,
    choose,
    may_choose,
    numbers_of,
    read_choices,
)
from router.scenarios.numbers.search import open_shop
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard, needs
from router.web.api import Instant, described, parse
from router.web.errors import Problem, read_json
from router.web.forms import Form, TextField, local_path

compliance_pages = guard(
    Blueprint("compliance", __name__, url_prefix="/numbers/compliance"), Audience.PEOPLE, require_person
)
compliance_api = guard(
    Blueprint("compliance_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/compliance"),
    Audience.PROGRAMS,
    require_token,
)


class NumbersSchema(ExactSchema):
    """Numbers of a country, two letters, and kind."""

    country: Annotated[str, AfterValidator(parse_country)]
    kind: NumberKind = "local"


class ChoiceSchema(NumbersSchema):
    """What goes with orders of such numbers from now on; null or empty: nothing of the kind."""

    bundle_sid: str | None = Field(max_length=64, examples=["BU" + "0" * 32])
    address_sid: str | None = Field(max_length=64, examples=["AD" + "0" * 32])


class ChoiceForm(Form):
    bundle_sid = TextField()
    address_sid = TextField()


class ComplianceDocument(BaseModel):
    """What goes with orders of numbers of a country and kind. Names are those of the time when it was chosen."""

    country: str
    kind: NumberKind
    bundle_sid: str | None
    bundle_name: str | None
    address_sid: str | None
    address_name: str | None
    address_country: str | None
    chosen_by: str
    chosen_at: Instant


class BundleDocument(BaseModel):
    """A regulatory bundle of the account; only one that `is_usable` can be chosen. `status` is the carrier's word."""

    sid: str
    name: str
    status: str
    is_usable: bool
    valid_until: Instant | None


class AddressDocument(BaseModel):
    """An address of the account."""

    sid: str
    name: str
    text: str
    country: str


class ChoicesDocument(BaseModel):
    """What the account at the carrier has for such numbers. `wants_bundle`: the carrier has a regulation for them; null: it does not tell.
    Where it wants an address that is not chosen, a search of numbers answers 409 with `country` and `kind`."""

    country: str
    kind: NumberKind
    wants_bundle: bool | None
    bundles: list[BundleDocument]
    addresses: list[AddressDocument]
    chosen: ComplianceDocument | None


class CompliancesDocument(BaseModel):
    """All that the project chose at the account at which it buys now."""

    items: list[ComplianceDocument]


def _document(row: NumberCompliance) -> ComplianceDocument:
    names = ("bundle_sid", "bundle_name", "address_sid", "address_name", "address_country")
    values = {name: getattr(row, name) or None for name in names}
    return ComplianceDocument.model_validate(
        values | {"country": row.country, "kind": row.kind, "chosen_by": row.chosen_by, "chosen_at": row.chosen_at}
    )


def _asked_for(country: str, kind: NumberKind) -> tuple[Choices, NumberCompliance | None]:
    """What can be chosen, and what is.

    Raises:
        Problem: as `read_choices`.
    """
    server, project = current_server(), current_project()
    shop = open_shop(server, project.id)
    choices = read_choices(server, current_actor(), project.id, shop, country, kind)
    with server.database.reading() as session:
        rows = choices_at(session, project.id, choices.account_sid)
    return choices, next((row for row in rows if (row.country, row.kind) == (country, kind)), None)


@compliance_pages.get("")
@needs("admin")
def show() -> str:
    country, kind = _wish(request.args)
    return _page(country, kind, None)


@compliance_pages.post("")
def save() -> Response | tuple[str, int]:
    country, kind = _wish(request.form)
    form = ChoiceForm(request.form)
    try:
        choices, _ = _asked_for(country, kind)
        with changing() as change:
            row = choose(change, choices, form.bundle_sid.data, form.address_sid.data)
    except Problem as problem:
        form.refuse(problem)
        return _page(country, kind, form), problem.status
    sent = " and ".join(filter(None, (row.bundle_name, row.address_name))) if row else "nothing"
    flash(f"{numbers_of(country, kind)} are ordered with {sent} from now on.")
    back = local_path(request.form.get("back"))
    return redirect(back or url_for("compliance.show", country=country, kind=kind))


def _wish(args: Any) -> tuple[str, NumberKind]:
    """The country and kind that are asked for; junk asks for local numbers in the project's country."""
    country, codes = args.get("country", "")[:2].upper(), dict(named_countries())
    if country not in codes:
        country = current_project().country or "US"
    return country, next((kind for kind in NUMBER_KINDS if kind == args.get("kind")), "local")


def _page(country: str, kind: NumberKind, form: ChoiceForm | None) -> str:
    """Asks the carrier, so never inside a transaction."""
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        account_sid = sid_of_project(session, project.id)
        rows = choices_at(session, project.id, account_sid)
        is_his = may_choose(session, current_actor(), project.id, account_sid)
    choices, chosen, sentence = None, None, ""
    try:
        if is_his:
            choices, chosen = _asked_for(country, kind)
    except Problem as refusal:
        sentence = refusal.detail
    now = server.now()
    bundles = (choices and choices.bundles) or ()
    usable = [bundle for bundle in bundles if bundle.is_usable(now)]
    addresses = sorted(choices.addresses, key=lambda one: one.country != country) if choices else []
    if form is None:
        form = ChoiceForm(
            data={
                "bundle_sid": chosen.bundle_sid if chosen else usable[0].sid if len(usable) == 1 else "",
                "address_sid": chosen.address_sid if chosen else "",
            }
        )
    return render_template(
        "scenarios/compliance.html",
        country=country,
        kind=kind,
        kinds=KIND_WORDS.items(),
        countries=named_countries(),
        rows=[(numbers_of(row.country, row.kind), row) for row in rows],
        numbers=numbers_of(country, kind),
        not_his="" if is_his else NOT_HIS,
        choices=choices,
        chosen=chosen,
        usable=usable,
        others=[bundle for bundle in bundles if not bundle.is_usable(now)],
        addresses=addresses,
        bundle_choices=[
            ("", "None"),
            *(
                (one.sid, f"{one.name}, valid until {one.valid_until:%-d %B %Y}" if one.valid_until else one.name)
                for one in usable
            ),
        ],
        address_choices=[
            ("", "None"),
            *((one.sid, f"{one.name}: {one.text}, {one.country}".removeprefix(": ")) for one in addresses),
        ],
        sentence=sentence,
        form=form,
        back=local_path(request.values.get("back")) or "",
    )


@compliance_api.get("")
@described(answer=CompliancesDocument)
def list_compliances(project_id: int) -> dict[str, Any]:
    """List the bundles and addresses that go with the project's orders, by country and kind of number."""
    with current_server().database.reading() as session:
        rows = choices_at(session, project_id, sid_of_project(session, project_id))
    return CompliancesDocument(items=[_document(row) for row in rows]).model_dump(mode="json")


@compliance_api.get("/choices")
@needs("admin")
@described(query=NumbersSchema, answer=ChoicesDocument)
def show_choices(project_id: int) -> dict[str, Any]:
    """Ask the carrier which bundles and addresses the account has for such numbers.

    403: other projects use the account too, so that its operator chooses."""
    wanted = parse(NumbersSchema, request.args)
    choices, chosen = _asked_for(wanted.country, wanted.kind)
    now = current_server().now()
    document = ChoicesDocument(
        country=choices.country,
        kind=choices.kind,
        wants_bundle=choices.wants_bundle,
        bundles=[
            BundleDocument(
                sid=bundle.sid,
                name=bundle.name,
                status=bundle.status,
                is_usable=bundle.is_usable(now),
                valid_until=bundle.valid_until,
            )
            for bundle in choices.bundles or ()
        ],
        addresses=[AddressDocument.model_validate(asdict(address)) for address in choices.addresses],
        chosen=_document(chosen) if chosen else None,
    )
    return document.model_dump(mode="json")


@compliance_api.put("")
@needs("admin")
@described(body=ChoiceSchema, answer=ComplianceDocument, also={204: None})
def put_choice(project_id: int) -> tuple[Any, int]:
    """Choose the bundle and the address that go with orders of such numbers; 204 when nothing does any more.

    The carrier is asked whether the account has them."""
    choice = parse(ChoiceSchema, read_json(request))
    choices, _ = _asked_for(choice.country, choice.kind)
    with changing() as change:
        row = choose(change, choices, choice.bundle_sid or "", choice.address_sid or "")
        return (_document(row).model_dump(mode="json"), 200) if row else ("", 204)
