"""Calls whose visit was found by the number's leases, for those who try other pools with them."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.planner.history import PastCall
from router.scenarios.models import Scenario
from router.voice.models import EXTERNAL, Call

MOST_CALLS = 20_000


def calls_by_lease(session: Session, scenario: Scenario, since: datetime, until: datetime) -> list[PastCall]:
    """The newest ones of a time, oldest first; one statement. Repeat calls are not among them: their source is known without a lease;
    internal ones neither."""
    wanted = (
        select(Call.started_at, Call.visit_id, Call.confidence, Call.candidates)
        .where(Call.project_id == scenario.project_id, Call.started_at >= since, Call.started_at <= until)
        .where(Call.scenario_id == scenario.id, Call.rule == "lease", Call.kind == EXTERNAL)
        .order_by(Call.started_at.desc(), Call.id.desc())
        .limit(MOST_CALLS)
    )
    return [
        PastCall(at, visit_id, confidence or 0.0, [(one["visit_id"], one["probability"]) for one in candidates])
        for at, visit_id, confidence, candidates in reversed(session.execute(wanted).all())
    ]
