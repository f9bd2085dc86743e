"""Pages of tracking numbers: which are in use, free or unpaid; moving, pinning and giving them back; adding own ones; a search among the
carrier's, and the progress of what was ordered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import ColumnElement, Select, and_, case, func, select, true
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.audit import changing
from router.accounts.ledger import BalanceTooLow, price_of
from router.accounts.sessions import require_person
from router.carriers.base import CHOOSE_COMPLIANCE, Offer, ShopError
from router.lib.formats import format_count, format_money, parse_int
from router.lib.phones import BadPhone, country_of, international, read_phone
from router.scenarios.billing.statement import project_forecast
from router.scenarios.models import GRACE, RENTED, NumberBatch, Scenario, TrackingNumber
from router.scenarios.numbers.compliance import kinds_of
from router.scenarios.numbers.inventory import add_numbers, move_numbers, pin_number, present_numbers, remove_number
from router.scenarios.numbers.purchase import batch_progress, order_numbers
from router.scenarios.numbers.release import begin_release
from router.scenarios.numbers.search import AWAY, Lack, bundles_lacking, open_shop, search_numbers
from router.scenarios.service import scenario_titles
from router.server import current_server
from router.web.access import Audience, current_project, guard, needs
from router.web.api import rows_of
from router.web.errors import Problem, Refused
from router.web.forms import lines_of, row_action

USES = ("used", "free", "grace", "kept", "leaving", "gone")


@dataclass(frozen=True, slots=True)
class NumberQuery:
    """What the address asks for. `use` is one of USES, or empty for all that are here; `gone` numbers were given back."""

    use: str = ""
    scenario: int | None = None
    digits: str = ""

    @property
    def filtered(self) -> bool:
        return bool(self.use or self.scenario or self.digits)


def read_number_query(args: Mapping[str, str]) -> NumberQuery:
    """Junk asks for nothing."""
    use, scenario = args.get("use", ""), args.get("scenario", "")
    digits = "".join(sign for sign in args.get("q", "") if sign.isascii() and sign.isdigit())
    return NumberQuery(use if use in USES else "", parse_int(scenario, least=1), digits[:20])


def numbers_asked_for(project_id: int, query: NumberQuery, now: datetime) -> Select[TrackingNumber]:
    gone = TrackingNumber.released_at.is_not(None)
    condition = gone if query.use == "gone" else _conditions(now).get(query.use, true()) & ~gone
    numbers = select(TrackingNumber).where(TrackingNumber.project_id == project_id, condition)
    if query.scenario:
        numbers = numbers.where(TrackingNumber.scenario_id == query.scenario)
    if query.digits:
        numbers = numbers.where(TrackingNumber.e164.contains(query.digits))
    return numbers


def number_figures(session: Session, project_id: int, now: datetime) -> Any:
    """How many numbers the project has of each kind in `_conditions`, by name."""
    counted = (
        func.coalesce(func.sum(case((condition, 1), else_=0)), 0).label(name)
        for name, condition in _conditions(now).items()
    )
    return session.execute(present_numbers(project_id).with_only_columns(*counted)).one()


def titles_of(session: Session, project_id: int) -> dict[int, str]:
    """The titles of the project's present scenarios by id, in the order of the alphabet."""
    titles = scenario_titles(session, project_id)
    return {scenario_id: title for scenario_id, (title, is_deleted) in titles.items() if not is_deleted}


def _conditions(now: datetime) -> dict[str, ColumnElement[bool]]:
    """In scenarios, free, unpaid (among both), unpaid since the grace is over, and being given back."""
    stays = TrackingNumber.releasing_at.is_(None)
    return {
        "used": TrackingNumber.scenario_id.is_not(None),
        "free": and_(TrackingNumber.scenario_id.is_(None), stays),
        "grace": and_(RENTED, TrackingNumber.paid_until <= now),
        "kept": and_(RENTED, TrackingNumber.paid_until <= now - GRACE),
        "leaving": TrackingNumber.releasing_at.is_not(None),
    }


numbers_pages = guard(Blueprint("numbers", __name__, url_prefix="/numbers"), Audience.PEOPLE, require_person)

MOST_LINES = 1000
MOST_CHOSEN = 200


@numbers_pages.get("")
def table() -> str:
    server, project, query = current_server(), current_project(), read_number_query(request.args)
    now = server.now()
    with server.database.reading() as session:
        rows, following = rows_of(session, numbers_asked_for(project.id, query, now), TrackingNumber.id, request.args)
        titles, figures = titles_of(session, project.id), number_figures(session, project.id, now)
        forecast = project_forecast(session, server, project, now)
    return render_template(
        "scenarios/numbers.html",
        rows=rows,
        following=following,
        query=query,
        titles=titles,
        figures=figures,
        forecast=forecast,
        now=now,
        grace_over=now - GRACE,
    )


@numbers_pages.get("/move")
@needs("admin")
def ask_where() -> str:
    with current_server().database.reading() as session:
        numbers = _chosen(session, request.args.getlist("number"))
        titles = titles_of(session, current_project().id)
    return render_template("scenarios/numbers_move.html", numbers=numbers, titles=titles)


@numbers_pages.post("/move")
def move() -> Response:
    to = _id(request.form.get("scenario", "")) if request.form.get("scenario") else None
    with changing() as change:
        ids = [number.id for number in _chosen(change.session, request.form.getlist("number"))]
        moved = move_numbers(change, ids, to)
        title = titles_of(change.session, change.project.id).get(to or 0)
    amount = format_count(len(moved), "number")
    flash(
        f"{amount} moved to {title}."
        if title
        else f"{amount} taken out: free for any scenario, calls go where they went."
    )
    return redirect(url_for("numbers.table", scenario=to) if to else url_for("numbers.table", use="free"))


@numbers_pages.post("/<int:number_id>/pin")
def pin(number_id: int) -> Response:
    on = bool(request.form.get("on"))

    def do() -> str:
        with changing() as change:
            number = pin_number(change, number_id, on)
        said = "pinned: the server never gives it back" if on else "no longer pinned"
        return f"{international(number.e164)} is {said}."

    return row_action(do, url_for("numbers.table"))


@numbers_pages.get("/release")
@needs("admin")
def ask_release() -> str:
    with current_server().database.reading() as session:
        numbers = _chosen(session, request.args.getlist("number"))
        titles = titles_of(session, current_project().id)
    return render_template("scenarios/numbers_release.html", numbers=numbers, titles=titles)


@numbers_pages.post("/release")
def release() -> Response:
    """Gives back those of the chosen numbers that are rented and not pinned."""
    with changing() as change:
        chosen = _chosen(change.session, request.form.getlist("number"))
        leaving = [number for number in chosen if number.is_returnable]
        for number in leaving:
            begin_release(change, number)
    verb = "is" if len(leaving) == 1 else "are"
    flash(f"{format_count(len(leaving), 'number')} {verb} being given back to the carrier.")
    return redirect(url_for("numbers.table"))


@numbers_pages.get("/add")
@needs("admin")
def add() -> str:
    return render_template("scenarios/numbers_add.html", text="", errors={})


@numbers_pages.post("/add")
def try_add() -> Response | tuple[str, int]:
    """One number on each line; all of them are added, or none."""
    text = request.form.get("numbers", "").replace("\0", "")
    lines = lines_of(text)
    try:
        if not lines:
            raise Refused({"": "Write at least one number."})
        if len(lines) > MOST_LINES:
            raise Refused({"": f"At most {MOST_LINES} numbers can be added at once."})
        with changing() as change:
            added = add_numbers(change, lines)
    except Refused as refusal:
        said = {lines[int(index)] if index else "": why for index, why in refusal.errors.items()}
        return render_template("scenarios/numbers_add.html", text=text, errors=said), 422
    flash(
        f"{format_count(len(added), 'number')} added. Put {'it' if len(added) == 1 else 'them'} into a scenario next."
    )
    return redirect(url_for("numbers.table", use="free"))


@numbers_pages.post("/<int:number_id>/remove")
def remove(number_id: int) -> Response:
    with changing() as change:
        number = remove_number(change, number_id)
    flash(f"{international(number.e164)} is removed.")
    return redirect(url_for("numbers.table"))


def _chosen(session: Session, texts: Sequence[str]) -> Sequence[TrackingNumber]:
    """The numbers that were ticked.

    Raises:
        Problem: 422 when none was, or too many; 404 when one of them is no number of this project.
    """
    ids = {_id(text) for text in texts}
    if not ids:
        raise Problem(422, "Choose at least one number in the list, then repeat.")
    if len(ids) > MOST_CHOSEN:
        raise Problem(422, f"At most {MOST_CHOSEN} numbers can be changed at once.")
    statement = present_numbers(current_project().id).where(TrackingNumber.id.in_(ids))
    numbers = session.scalars(statement.order_by(TrackingNumber.e164)).all()
    if len(numbers) != len(ids):
        raise Problem(404, "There is no such number.")
    return numbers


def _id(text: str) -> int:
    if (number := parse_int(text, least=1)) is None:
        raise Problem(404, "There is nothing here.")
    return number


buying_pages = guard(Blueprint("buying", __name__, url_prefix="/numbers"), Audience.PEOPLE, require_person)

OFFERS = 30


@buying_pages.get("/buy")
@needs("admin")
def search() -> str:
    return _page(_wish(request.args), [])


@buying_pages.post("/buy")
def buy() -> Response | tuple[str, int]:
    """Orders the ticked numbers; the progress page shows the rest."""
    wish = _wish(request.form)
    try:
        e164s = [read_phone(text) for text in request.form.getlist("e164")]
    except BadPhone as error:
        raise Problem(422, str(error), "e164") from None
    if not e164s:
        return _page(wish, [], "Tick at least one number."), 422
    try:
        open_shop(current_server(), current_project().id)
        with changing() as change:
            batch = order_numbers(change, e164s)
    except BalanceTooLow as low:
        missing = format_money(low.missing_minor, current_project().currency)
        return _page(wish, e164s, f"{missing} are missing: top up, then buy. Nothing is bought yet.", poor=True), 409
    except Problem as refusal:
        return _page(wish, e164s, refusal.detail), refusal.status
    return redirect(url_for("buying.progress", batch_id=batch.id))


@buying_pages.get("/batches/<int:batch_id>")
def progress(batch_id: int) -> str:
    """How far the numbers are that were ordered together; its script asks again until all is over."""
    with current_server().database.reading() as session:
        batch = session.get(NumberBatch, batch_id)
        if batch is None or batch.project_id != current_project().id:
            raise Problem(404, "There is no such order.")
        scenario = session.get(Scenario, batch.scenario_id) if batch.scenario_id else None
        reached = batch_progress(session, batch.id)
        refused = [e164 for e164, sentence in reached.problems if CHOOSE_COMPLIANCE in sentence]
        return render_template(
            "scenarios/batch.html",
            batch=batch,
            scenario=scenario,
            progress=reached,
            lacking=[(country_of(e164), kinds_of(e164)[0]) for e164 in refused[:1]],
        )


def _wish(args: Mapping[str, str]) -> dict[str, str]:
    """What kind of number is looked for: `{country, area_code, contains}`."""
    country = args.get("country", "")[:2].upper() or current_project().country
    wish = {"country": country if country.isascii() and country.isalpha() else "US"}
    for name in ("area_code", "contains"):
        wish[name] = "".join(sign for sign in args.get(name, "") if sign.isascii() and sign.isdigit())[:12]
    return wish


def _page(wish: dict[str, str], ticked: Sequence[str], error: str = "", *, poor: bool = False) -> str:
    """Asks the carrier, so never inside a transaction."""
    server, project = current_server(), current_project()
    countries, offers, sentence, lacks = [wish["country"]], list[Offer](), "", list[Lack]()
    try:
        countries = sorted({*open_shop(server, project.id).countries(), wish["country"]})
        offers = search_numbers(server, project.id, **wish, limit=OFFERS)
        lacks = bundles_lacking(server, project.id, {(wish["country"], offer.kind) for offer in offers})
    except Problem as refusal:
        if "kind" in refusal.more:
            lacks = [Lack(refusal.detail, refusal.more["country"], refusal.more["kind"])]
        else:
            sentence = refusal.detail
    except ShopError as failure:
        sentence = AWAY.format(why=failure)
    return render_template(
        "scenarios/numbers_buy.html",
        wish=wish,
        countries=countries,
        offers=offers,
        sentence=sentence,
        lacks=lacks,
        ticked=ticked,
        price=price_of(server.settings, project),
        error=error,
        poor=poor,
    )
