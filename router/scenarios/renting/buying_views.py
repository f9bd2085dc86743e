"""Pages of buying numbers: a search among the carrier's, and the progress of what was ordered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from router.accounts.access import Audience, current_actor, current_project, guard, needs
from router.accounts.ledger import BalanceTooLow, price_of
from router.accounts.sessions import require_person
from router.carriers.shop import ShopError
from router.money import say_money
from router.phones import BadPhone, read_phone
from router.scenarios.models import NumberBatch, Scenario
from router.scenarios.renting.purchase import batch_progress, order_numbers
from router.scenarios.renting.search import AWAY, ForSale, open_shop, search_numbers
from router.server import current_server
from router.web import Problem

buying_pages = guard(Blueprint("buying", __name__, url_prefix="/numbers"), Audience.PEOPLE, require_person)

OFFERS = 30
"""Found numbers on one page."""


@dataclass(frozen=True)
class Wish:
    """What kind of number is looked for."""

    country: str
    area_code: str
    contains: str

    @property
    def search(self) -> dict[str, str]:
        return {"country": self.country, "area_code": self.area_code, "contains": self.contains}


@dataclass(frozen=True)
class Found:
    """The carrier's answer: which countries it has, what it offers, and in words why it does not."""

    countries: Sequence[str]
    offers: Sequence[ForSale]
    sentence: str = ""


@buying_pages.get("/buy")
@needs("admin")
def search() -> str:
    return _page(_wish(request.args), [])


@buying_pages.post("/buy")
def buy() -> Response | tuple[str, int]:
    """Orders the ticked numbers; the progress page shows the rest."""
    server, project = current_server(), current_project()
    wish, wanted = _wish(request.form), _numbers(request.form.getlist("e164"))
    if not wanted:
        return _page(wish, [], "Tick at least one number."), 422
    try:
        open_shop(server)
        with server.database.writing() as session:
            batch = order_numbers(session, server, project, current_actor().name, wanted, server.now())
    except BalanceTooLow as low:
        missing = say_money(low.missing_minor, project.currency)
        return _page(wish, wanted, f"{missing} are missing: top up, then buy. Nothing is bought yet.", poor=True), 409
    except Problem as refusal:
        return _page(wish, wanted, refusal.detail), refusal.status
    return redirect(url_for("buying.progress", batch_id=batch.id))


@buying_pages.get("/batches/<int:batch_id>")
def progress(batch_id: int) -> str:
    """How far the numbers are that were ordered together; its script asks again until all is over."""
    with current_server().database.reading() as session:
        batch = session.get(NumberBatch, batch_id)
        if batch is None or batch.project_id != current_project().id:
            raise Problem(404, "There is no such order.")
        scenario = session.get(Scenario, batch.scenario_id) if batch.scenario_id else None
        return render_template(
            "scenarios/batch.html", batch=batch, scenario=scenario, progress=batch_progress(session, batch.id)
        )


def _wish(args: Mapping[str, str]) -> Wish:
    country = args.get("country", "")[:2].upper() or current_project().country
    area_code, contains = (_digits(args.get(name, "")) for name in ("area_code", "contains"))
    return Wish(country if country.isascii() and country.isalpha() else "US", area_code, contains)


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isascii() and sign.isdigit())[:12]


def _numbers(texts: Sequence[str]) -> list[str]:
    """
    Raises:
        Problem: 422, one of them is no number.
    """
    try:
        return [read_phone(text) for text in texts]
    except BadPhone as error:
        raise Problem(422, str(error), "e164") from None


def _page(wish: Wish, ticked: Sequence[str], error: str = "", *, poor: bool = False) -> str:
    server, project = current_server(), current_project()
    return render_template(
        "scenarios/numbers_buy.html",
        wish=wish,
        found=_found(wish),
        ticked=ticked,
        price=price_of(server.settings, project),
        error=error,
        poor=poor,
    )


def _found(wish: Wish) -> Found:
    """Asks the carrier; outside of any transaction."""
    server, countries = current_server(), [wish.country]
    try:
        countries = sorted({*open_shop(server).countries(), wish.country})
        offers = search_numbers(server, current_project(), wish.country, wish.area_code, wish.contains, OFFERS)
    except Problem as refusal:
        return Found(countries, [], refusal.detail)
    except ShopError as error:
        return Found(countries, [], AWAY.format(why=error))
    return Found(countries, offers)
