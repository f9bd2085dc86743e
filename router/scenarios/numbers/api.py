"""Tracking numbers for programs: list, search, buy, change and give back."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from flask import Blueprint, request
from pydantic import AfterValidator, Field
from sqlalchemy.orm import Session

from router.accounts.audit import changing
from router.accounts.ledger import BalanceTooLow, price_of
from router.accounts.sessions import require_token
from router.lib.formats import GREATEST_ID, format_money, parse_country
from router.lib.phones import BadPhone, phone_or, read_phone
from router.scenarios.documents import number_document
from router.scenarios.fields import ExactSchema, StrictSchema
from router.scenarios.models import OPEN_STATES, OrderState, TrackingNumber
from router.scenarios.numbers.inventory import add_number, move_numbers, pin_number, present_numbers, remove_number
from router.scenarios.numbers.purchase import buy_now
from router.scenarios.numbers.release import begin_release
from router.scenarios.numbers.search import REFUSES, open_shop, search_numbers
from router.scenarios.schema import (
    Digits,
    NumberDocument,
    NumberShape,
    OffersDocument,
    OrderDocument,
)
from router.scenarios.service import find_scenario
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard
from router.web.api import GREATEST_LIMIT, described, page_of, parse
from router.web.errors import Problem, read_json


def _limit(limit: int) -> int:
    if not 1 <= limit <= GREATEST_LIMIT:
        raise ValueError(f"“limit” is a number from 1 to {GREATEST_LIMIT}.")
    return limit


class SearchShape(StrictSchema):
    """`area_code`: national digits with which the number begins; `contains`: digits that stand somewhere in it."""

    country: Annotated[str, AfterValidator(parse_country)]
    area_code: Digits = ""
    contains: Digits = ""
    limit: Annotated[int, AfterValidator(_limit)] = 20


class BuyShape(NumberShape):
    """The number as the search gave it, and where it goes; without a scenario to the project's free ones."""

    scenario: Annotated[int, Field(ge=1, le=GREATEST_ID)] | None = None


class NumberPatch(ExactSchema):
    """Only what changes. `scenario`: null takes the number out of its scenario."""

    pinned: bool = False
    scenario: Annotated[int, Field(ge=1, le=GREATEST_ID)] | None = None


numbers_api = guard(
    Blueprint("numbers_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)

Answer = tuple[dict[str, Any], int]


@numbers_api.post("/numbers")
@described(body=NumberShape, answer=NumberDocument, status=201)
def post_number(project_id: int) -> Answer:
    """Add a number that is owned elsewhere and forwarded here."""
    text = parse(NumberShape, read_json(request)).e164
    with changing() as change:
        return number_document(add_number(change, text), change.now), 201


@numbers_api.get("/numbers")
@described(answer=NumberDocument, is_list=True)
def get_numbers(project_id: int) -> dict[str, Any]:
    """List the project's tracking numbers, newest first."""
    server = current_server()
    document = partial(number_document, now=server.now())
    with server.database.reading() as session:
        return page_of(session, present_numbers(project_id), TrackingNumber.id, request.args, document)


@numbers_api.post("/numbers/search")
@described(body=SearchShape, answer=OffersDocument)
def search(project_id: int) -> dict[str, Any]:
    """Search numbers for sale, with the price for 7 days and the carrier's own."""
    server, project = current_server(), current_project()
    query = parse(SearchShape, read_json(request))
    ours = {"price_minor": price_of(server.settings, project), "currency": project.currency}
    items = [asdict(offer) | ours for offer in search_numbers(server, project_id, **query.model_dump())]
    for item in items:
        item["carrier_price"] = item.pop("price")
    return {"items": items}


@numbers_api.post("/numbers/buy")
@described(body=BuyShape, answer=NumberDocument, status=201, also={202: OrderDocument})
def buy(project_id: int) -> Answer:
    """Buy one number; 202 when the carrier did not answer clearly and the server goes on asking."""
    server, project, actor = current_server(), current_project(), current_actor()
    purchase = parse(BuyShape, read_json(request))
    try:
        e164 = read_phone(purchase.e164, project.country)
    except BadPhone as error:
        raise Problem(422, str(error), "e164") from None
    if purchase.scenario is not None:
        with server.database.reading() as session:
            find_scenario(session, project, purchase.scenario)
    open_shop(server, project_id)
    try:
        order = buy_now(server, project, actor.name, e164, server.now(), purchase.scenario)
    except BalanceTooLow as refusal:
        missing = format_money(refusal.missing_minor, project.currency)
        sentence = f"The balance is too low: {missing} are missing. Ask the operator of this server to top it up."
        raise Problem(409, sentence, missing_minor=refusal.missing_minor, currency=project.currency) from None
    if order.state in OPEN_STATES:
        return {"state": order.state, "order": order.id, "e164": order.e164, "detail": order.error}, 202
    if order.state == OrderState.REFUSED:
        raise Problem(502, REFUSES.format(why=order.error), order=order.id)
    if order.state != OrderState.BOUGHT:
        raise Problem(409, order.error, "e164", order=order.id)
    with server.database.reading() as session:
        number = session.get_one(TrackingNumber, order.number_id)
    return number_document(number, server.now()), 201


@numbers_api.get("/numbers/<e164>")
@described(answer=NumberDocument)
def get_number(project_id: int, e164: str) -> dict[str, Any]:
    """Read one number."""
    server = current_server()
    with server.database.reading() as session:
        return number_document(_present(session, e164), server.now())


@numbers_api.patch("/numbers/<e164>")
@described(body=NumberPatch, answer=NumberDocument)
def patch_number(project_id: int, e164: str) -> dict[str, Any]:
    """Pin a number, or move it to another scenario; its history stays with it."""
    with current_server().database.reading() as session:
        _present(session, e164)
    patch = parse(NumberPatch, read_json(request))
    with changing() as change:
        number = _present(change.session, e164)
        if "scenario" in patch.model_fields_set:
            move_numbers(change, [number.id], patch.scenario)
        if "pinned" in patch.model_fields_set:
            pin_number(change, number.id, patch.pinned)
        return number_document(number, change.now)


@numbers_api.delete("/numbers/<e164>")
@described(answer=NumberDocument, status=202, also={204: None})
def delete_number(project_id: int, e164: str) -> tuple[Any, int]:
    """Give a rented number back to the carrier (202), or remove an own one that was never in use (204)."""
    with changing() as change:
        number = _present(change.session, e164)
        if number.owned_elsewhere:
            remove_number(change, number.id)
            return "", 204
        begin_release(change, number)
        return number_document(number, change.now), 202


def _present(session: Session, text: str) -> TrackingNumber:
    """The project's number as it stands in an address, where the plus sign may be missing.

    Raises:
        Problem: 404 when the project has no such number (any more).
    """
    e164 = phone_or("+" + text.lstrip("+ "))
    number = session.scalar(present_numbers(current_project().id).where(TrackingNumber.e164 == e164))
    if number is None:
        raise Problem(404, "There is no such number.")
    return number
