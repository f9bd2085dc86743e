"""What the worker learns from calls whose visitor is known well: how long after their visit callers still call (R6)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session

from router.attribution.pool.choice import CALLS_NEEDED, learn
from router.scenarios.models import Scenario
from router.server import Server
from router.voice.models import EXTERNAL, Call

SURE = 0.95
"""A call counts whose visitor is at least so probable, or tapped the number just before."""
MOST_CALLS = 5000
"""The newest ones: what visitors do changes."""


def learn_survival(server: Server, now: datetime) -> None:
    """The curve of each scenario with enough such calls; the default, None, where there are not."""
    with server.database.reading() as session:
        scenarios = session.execute(
            select(Scenario.id, Scenario.survival).where(
                Scenario.deleted_at.is_(None), or_(Scenario.calls >= CALLS_NEEDED, Scenario.survival.is_not(None))
            )
        ).all()
        learned = {}
        for scenario in scenarios:
            silences = session.scalars(_silences(scenario.id)).all()
            learned[scenario.id] = learn(silences) if len(silences) >= CALLS_NEEDED else None
    for scenario in scenarios:
        if learned[scenario.id] != scenario.survival:
            with server.database.writing() as session:
                values = {"survival": learned[scenario.id]}
                session.execute(update(Scenario).where(Scenario.id == scenario.id).values(values))


def sure_calls(session: Session, scenario_id: int) -> int:
    """How many calls there are to learn from, at most MOST_CALLS."""
    return session.scalar(select(func.count()).select_from(_silences(scenario_id).subquery())) or 0


def _silences(scenario_id: int) -> Select[float]:
    """How long the winning visits had been silent at their calls, in seconds; 0 while their page was open."""
    winner: Any = Call.candidates[0]
    tapped = winner["tapped_seconds"].as_float().is_not(None)
    silence: Any = winner["silent_seconds"].as_float()
    return (
        select(silence)
        .where(Call.scenario_id == scenario_id, Call.rule == "lease", or_(Call.confidence >= SURE, tapped))
        .where(silence.is_not(None), Call.kind == EXTERNAL)
        .order_by(Call.id.desc())
        .limit(MOST_CALLS)
    )
