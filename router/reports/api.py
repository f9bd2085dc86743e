"""Calls and visits for programs."""

from typing import Any

from flask import Blueprint, request

from router.accounts.access import Audience, current_project, guard
from router.accounts.api_habits import rows_by_time
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.integrations.document import full_call_documents
from router.reports.calls import FILTERS, calls_of, find_call, read_filter
from router.reports.visits import find_visit, visit_document
from router.server import current_server
from router.voice.models import Call

reports_api = guard(
    Blueprint("reports_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)


@reports_api.get("/calls")
@described(query=(*FILTERS, "limit", "next"))
def get_calls(project_id: int) -> dict[str, Any]:
    """List calls, newest first."""
    wanted = read_filter(request.args, current_project())
    with current_server().database.reading() as session:
        rows, following = rows_by_time(session, calls_of(project_id, wanted), Call.started_at, Call.id, request.args)
        return {"items": full_call_documents(session, rows), "next": following}


@reports_api.get("/calls/<int:call_id>")
def get_call(project_id: int, call_id: int) -> dict[str, Any]:
    """Read one call, with its attribution and its deliveries."""
    with current_server().database.reading() as session:
        return full_call_documents(session, [find_call(session, project_id, call_id)])[0]


@reports_api.get("/visits/<int:number>")
def get_visit(project_id: int, number: int) -> dict[str, Any]:
    """Read one visit by its visit number, with the numbers it was shown and its calls."""
    with current_server().database.reading() as session:
        return visit_document(session, find_visit(session, project_id, number))
