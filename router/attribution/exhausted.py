"""What a page shows when every number of a pool is active and none is to be shared (R6): the scenario's overflow number, or its own."""

from datetime import datetime
from typing import Any

from sqlalchemy import Executable, bindparam, select
from sqlalchemy.orm import Session

from router.attribution.models import Unserved
from router.database import insert_new, table_of
from router.scenarios.models import TrackingNumber
from router.statements import Statement

SHARE, OVERFLOW, KEEP = "share", "overflow", "keep"
"""The policies of an exhausted pool."""

UNSERVED, _number = table_of(Unserved), table_of(TrackingNumber).c


@Statement
def _COUNT(dialect: str) -> Executable:
    given: dict[str, Any] = {one.name: bindparam(one.name) for one in UNSERVED.c}
    counted: Executable = insert_new(dialect, UNSERVED, unique=["visit_id", "scenario_id"]).values(given)
    return counted


_OVERFLOW_NUMBER = Statement(
    lambda _: (
        select(_number.e164)
        .where(_number.scenario_id == bindparam("scenario"), _number.overflow, _number.released_at.is_(None))
        .order_by(_number.id)
        .limit(1)
    )
)


def shown_instead(session: Session, scenario_id: int, policy: str, visit_id: int, now: datetime) -> str | None:
    """The overflow number that the visit is shown; None: the page keeps its own. The first time a visit is not served is counted."""
    found = _OVERFLOW_NUMBER.first(session, {"scenario": scenario_id}) if policy == OVERFLOW else None
    outcome = OVERFLOW if found else KEEP
    _COUNT.run(session, {"visit_id": visit_id, "scenario_id": scenario_id, "outcome": outcome, "at": now})
    return str(found[0]) if found else None
