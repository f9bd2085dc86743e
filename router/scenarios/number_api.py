"""Tracking numbers for programs."""

from typing import Any

from flask import Blueprint, request

from router.accounts.access import Audience, current_actor, current_project, guard
from router.accounts.api_habits import parse, rows_of
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.scenarios.documents import number_document
from router.scenarios.models import TrackingNumber
from router.scenarios.numbers import add_number, present_numbers
from router.scenarios.refusal import Refused
from router.scenarios.shape import NumberShape
from router.server import current_server
from router.web import read_json

numbers_api = guard(
    Blueprint("numbers_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)

Answer = tuple[dict[str, Any], int]


@numbers_api.errorhandler(Refused)
def refused(refusal: Refused) -> Any:
    return refusal.problem().response()


@numbers_api.post("/numbers")
@described(body=NumberShape, status=201)
def post_number(project_id: int) -> Answer:
    """Add a number that is owned elsewhere and forwarded here."""
    body = read_json(request)
    text = parse(NumberShape, body).e164
    server = current_server()
    with server.database.writing() as session:
        number = add_number(session, current_project(), current_actor(), text, server.now())
    return number_document(number), 201


@numbers_api.get("/numbers")
@described(query=("limit", "next"))
def get_numbers(project_id: int) -> dict[str, Any]:
    """List the project's tracking numbers, newest first."""
    numbers = present_numbers(project_id)
    with current_server().database.reading() as session:
        rows, following = rows_of(session, numbers, TrackingNumber.id, request.args)
        return {"items": [number_document(number) for number in rows], "next": following}
