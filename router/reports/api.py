"""Calls, visits, the report by source and leaks for programs."""

from typing import Any

from flask import Blueprint, request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.sessions import require_token
from router.attribution.models import Lease, Visit, VisitSpan, is_free_pool
from router.integrations.outbox import full_call_documents
from router.integrations.views import CallDelivery
from router.reports.calls import CallFilter, calls_of, find_call, parse_filter
from router.reports.leaks import LeakDocument, read_leaks
from router.reports.lease_history import newest_span
from router.reports.sources import SourceFigures, SourceReport, SourcesQuery, parse_query, row_values
from router.scenarios.models import TrackingNumber
from router.server import current_server
from router.voice.models import Call
from router.web.access import Audience, current_project, guard
from router.web.api import described, rows_of
from router.web.errors import Problem, iso


class CallSource(BaseModel):
    channel: str
    source: str
    medium: str
    campaign: str
    term: str
    content: str


class Candidate(BaseModel):
    """A visit that could have called; `visit` is its visit number."""

    visit: int
    probability: float


class CallAttribution(BaseModel):
    """`rule`: repeat, static, lease, none, or imported."""

    rule: str
    confidence: float | None
    source_confidence: float | None
    candidates: list[Candidate]


class RecordingDocument(BaseModel):
    """A recording of a call. `kind`: talk, or message (voicemail). `state`: waiting (it is on its way from the carrier), kept, failed (it
    did not come), or removed. `url` gives the file to programs with their token once it is kept; `page` is for people who sign in.
    `duration` is in seconds, `size` in bytes; of two channels the first has the caller's side."""

    id: int
    kind: str
    state: str
    url: str | None
    page: str
    duration: int | None
    channels: int
    content_type: str | None
    size: int | None
    told_at: str


class CallBlocked(BaseModel):
    """Why a call was not put through. `because`: listed, withheld, failed_verification, caller_limit, or number_limit. `pattern`: the entry
    of the list, if it has a star. `answer`: what the caller heard: busy, not_in_service, or sentence."""

    because: str
    pattern: str
    answer: str


class CallDocument(BaseModel):
    """A call, as webhooks bring it too. `kind`: external, or internal when it came from one of the project's own telephones; an internal
    call counts in no figures, and tells what a visitor's would have been credited to. A call of the kind blocked was not put through:
    `blocked` says why, and its `status` is failed, because nobody was rung. `duration` is the talk time in seconds. What comes
    from its visit is as the visit is now: `params` are the site's own fields, also those that its pages told after the call began;
    `click_ids`, by their names in lower case (`gclid`, `sccid`), and `ga` are empty where consent is lacking or was withdrawn.
    `recording` is the one of its `recordings` that can be heard, or will be soonest, and of several the longest."""

    id: int
    sid: str
    kind: str
    blocked: CallBlocked | None
    started_at: str
    caller: str | None
    number: str
    scenario: int | None
    destination: str | None
    status: str
    first_call: bool
    ring_seconds: int | None
    duration: int | None
    visit: int | None
    landing_page: str | None
    referrer: str | None
    source: CallSource | None
    attribution: CallAttribution
    click_ids: dict[str, str]
    ga: dict[str, str]
    params: dict[str, str]
    recording: RecordingDocument | None
    recordings: list[RecordingDocument]
    deliveries: list[CallDelivery]


class VisitDocument(BaseModel):
    """A visit. `source_at` is before `started_at` when it came back directly and keeps its last known source. `limited`: the visitor did
    not consent to a cookie, so no click ids are known and the addresses are without identifiers. `params`: the site's own fields."""

    visit: int
    visitor: str
    started_at: str
    last_sign_at: str
    landing_page: str
    referrer: str | None
    source: CallSource
    source_at: str
    click_ids: dict[str, str]
    ga: dict[str, str]
    params: dict[str, str]
    limited: bool
    spans: list[dict[str, Any]]
    numbers: list[dict[str, Any]]
    calls: list[CallDocument]


MOST_ROWS = 200


def find_visit(session: Session, project_id: int, number: int) -> Visit:
    """
    Raises:
        Problem: 404 when the project has no visit of this number.
    """
    by_number = select(Visit).where(Visit.project_id == project_id, Visit.number == number)
    visit = session.scalars(by_number).one_or_none()
    if visit is None:
        raise Problem(404, "There is no such visit.")
    return visit


def visit_document(session: Session, visit: Visit) -> dict[str, Any]:
    """`spans`: when its page was open, oldest first; `left`: the span ended with the page being left. `numbers`: what it was leased, oldest
    first; `scenario` is null for a free number of a project without scenarios. `shown_at`: when its page said that the number stands on it;
    `returned_at`: when it said that it stands nowhere; null in both: nothing was said, or only that the page was left too soon.
    """
    earlier = select(VisitSpan).where(VisitSpan.visit_id == visit.id).order_by(VisitSpan.started_at.desc())
    spans = [*reversed(session.scalars(earlier.limit(MOST_ROWS)).all()), newest_span(visit)]
    leases = session.execute(
        select(Lease, TrackingNumber.e164)
        .join(TrackingNumber, TrackingNumber.id == Lease.number_id)
        .where(Lease.visit_id == visit.id)
        .order_by(Lease.id)
        .limit(MOST_ROWS)
    )
    numbers = [
        {
            "e164": e164,
            "scenario": None if is_free_pool(lease.scenario_id) else lease.scenario_id,
            "started_at": iso(lease.started_at),
            "shared": lease.shared,
            "shown_at": iso(lease.shown_at) if lease.shown_at else None,
            "returned_at": iso(lease.returned_at) if lease.returned_at else None,
        }
        for lease, e164 in leases
    ]
    calls = select(Call).where(Call.visit_id == visit.id).order_by(Call.id.desc()).limit(MOST_ROWS)
    return {
        "visit": visit.number,
        "visitor": visit.visitor,
        "started_at": iso(visit.started_at),
        "last_sign_at": iso(visit.last_sign_at),
        "landing_page": visit.page,
        "referrer": visit.referrer or None,
        "source": {
            name: getattr(visit, name) for name in ("channel", "source", "medium", "campaign", "term", "content")
        },
        "source_at": iso(visit.source_at or visit.started_at),
        "click_ids": visit.click_ids,
        "ga": visit.ga,
        "params": visit.params,
        "limited": visit.limited,
        "spans": [
            {"started_at": iso(span.started_at), "last_at": iso(span.last_at), "left": span.left} for span in spans
        ],
        "numbers": numbers,
        "calls": full_call_documents(current_server(), session, session.scalars(calls)),
    }


reports_api = guard(
    Blueprint("reports_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)


@reports_api.get("/calls")
@described(answer=CallDocument, is_list=True, query=CallFilter)
def get_calls(project_id: int) -> dict[str, Any]:
    """List calls, newest first."""
    server, call_filter = current_server(), parse_filter(request.args, current_project())
    with server.database.reading() as session:
        rows, following = rows_of(
            session, calls_of(session, project_id, call_filter), (Call.started_at, Call.id), request.args
        )
        return {"items": full_call_documents(server, session, rows), "next": following}


@reports_api.get("/calls/<int:call_id>")
@described(answer=CallDocument)
def get_call(project_id: int, call_id: int) -> dict[str, Any]:
    """Read one call, with its attribution and its deliveries."""
    server = current_server()
    with server.database.reading() as session:
        return full_call_documents(server, session, [find_call(session, project_id, call_id)])[0]


class SourcesReport(BaseModel):
    """Calls by source from the first to the last day. The days before it are as many; while the period goes on, they are counted up to
    the same time of day. `items` are all rows, most calls first; `next` is always null."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: str = Field(alias="from")
    to: str
    by: str
    calls: int
    calls_before: int
    items: list[SourceFigures]
    next: None


@reports_api.get("/reports/sources")
@described(answer=SourcesReport, query=SourcesQuery)
def get_sources(project_id: int) -> dict[str, Any]:
    """Calls by source (`by`: channel, source or campaign), credited and expected, in a period (30 days unless told)."""
    query = parse_query(request.args, current_project().timezone, current_server().now())
    with current_server().database.reading() as session:
        report = SourceReport(session, project_id, query)
    return {
        "from": query.period.first.isoformat(),
        "to": query.period.last.isoformat(),
        "by": query.group,
        "calls": report.calls,
        "calls_before": report.before,
        "items": [row_values(row, query.group) for row in report.rows],
        "next": None,
    }


@reports_api.get("/leaks")
@described(answer=LeakDocument, is_list=True)
def get_leaks(project_id: int) -> dict[str, Any]:
    """Numbers that ring without any visit, again and again, most calls first; all are in one list."""
    with current_server().database.reading() as session:
        leaks = read_leaks(session, project_id, current_server().now())
    return {"items": [leak.model_dump() for leak in leaks], "next": None}


@reports_api.get("/visits/<int:number>")
@described(answer=VisitDocument)
def get_visit(project_id: int, number: int) -> dict[str, Any]:
    """Read one visit by its visit number, with the numbers it was shown and its calls."""
    with current_server().database.reading() as session:
        return visit_document(session, find_visit(session, project_id, number))
