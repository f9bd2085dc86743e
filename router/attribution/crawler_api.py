"""Crawlers for programs: how many page views got the page's own number, day by day."""

from datetime import date
from typing import Any

from flask import Blueprint, request
from pydantic import BaseModel
from sqlalchemy import case, func, select

from router.accounts.access import Audience, current_project, guard
from router.accounts.api_habits import make_cursor, read_cursor, read_limit
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.attribution.crawler_counts import KINDS, write_counts
from router.attribution.models import CrawlerDay
from router.server import current_server
from router.web import Problem

crawler_api = guard(
    Blueprint("crawler_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)


class CrawlerDayDocument(BaseModel):
    """Page views without a visit on a day of the project's time zone: of crawlers, by what gave them away (their user agent, or their
    behaviour), and of people from the project's staff addresses."""

    day: str
    user_agent: int
    behaviour: int
    staff: int


@crawler_api.get("/crawlers")
@described(answer=CrawlerDayDocument, is_list=True)
def list_crawler_days(project_id: int) -> dict[str, Any]:
    """Days on which crawlers or staff viewed pages, newest first; they get the page's own number, no visit and no lease."""
    limit, server = read_limit(request.args.get("limit", "")), current_server()
    kinds = [func.sum(case((CrawlerDay.kind == kind, CrawlerDay.views), else_=0)) for kind in KINDS]
    days = select(CrawlerDay.day, *kinds).where(CrawlerDay.project_id == current_project().id).group_by(CrawlerDay.day)
    if cursor := request.args.get("next", ""):
        days = days.where(CrawlerDay.day < _day(cursor))
    write_counts(server)
    with server.database.reading() as session:
        rows = session.execute(days.order_by(CrawlerDay.day.desc()).limit(limit + 1)).all()
    items = [{"day": day} | dict(zip(KINDS, map(int, views), strict=True)) for day, *views in rows[:limit]]
    following = make_cursor(date.fromisoformat(items[-1]["day"]).toordinal()) if len(rows) > limit else None
    return {"items": items, "next": following}


def _day(cursor: str) -> str:
    try:
        return date.fromordinal(read_cursor(cursor)).isoformat()
    except (ValueError, OverflowError):
        raise Problem(422, "“next” is not one that this list gave.", "next") from None
