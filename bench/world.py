"""The databases of a run: projects with pools of several sizes, and one whose numbers were lent and called often."""

import re
from datetime import timedelta
from typing import Any

from sqlalchemy import create_engine, insert, text

from router.attribution.models import PoolNumber
from router.db import Database, migrate, table_of
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flows import store_flow
from router.scenarios.models import TrackingNumber
from router.server import utc_now
from tests.factories import make_integration, make_project, make_scenario
from tests.postgres import database_of

POOLS = (10, 200, 5_000)
CALLED_NUMBERS = 200
LEASES_OF_A_NUMBER = 60
FIRST_E164 = 12_122_000_000
FIRST_FLOW_E164 = FIRST_E164 + CALLED_NUMBERS
"""Of as many numbers whose calls take a flow of steps."""
FLOW = {
    "steps": [
        {
            "type": "hours",
            "branches": [
                {
                    "times": [
                        {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "opens": "00:00", "closes": "24:00"}
                    ],
                    "steps": [
                        {
                            "type": "ring",
                            "order": "round_robin",
                            "destinations": [
                                {"to": "+14155550100", "weight": 2},
                                {"to": "+14155550101"},
                                {"to": "+14155550102"},
                            ],
                            "whisper": {"text": "A call from your web site."},
                        }
                    ],
                }
            ],
            "otherwise": [{"type": "voicemail"}],
        }
    ]
}
"""Opening hours, round robin and whisper."""
FIRST_KNOWN_CALLER = 14_152_000_000
FIRST_NEW_CALLER = 14_156_000_000


def make_database(url: str, name: str, past_calls: int) -> str:
    """A fresh, filled database of the cluster; returns its address."""
    made = make_empty(url, name)
    fill(made, past_calls)
    return made


def make_empty(url: str, name: str) -> str:
    """A fresh database of the cluster without any table; returns its address."""
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return database_of(url, name)


def fill(url: str, past_calls: int) -> None:
    """Makes the schema and all that a run needs in an empty database, SQLite or PostgreSQL."""
    database = Database(url, pool_size=1)
    migrate(database)
    with database.writing() as session:
        numbers = iter(range(FIRST_E164, FIRST_E164 + sum(POOLS) + 2 * CALLED_NUMBERS + 10_000))
        _make_called_numbers(session, numbers)
        with_steps = _make_pool(session, "steps", CALLED_NUMBERS, numbers, hold_seconds=150)
        store_flow(session, with_steps, FlowSchema.model_validate(FLOW).document(), utc_now())
        for size in POOLS:
            # no hold: at this rate every number would be active at once, and all visits would share
            _make_pool(session, f"pool-{size}", size, numbers, hold_seconds=0)
        _make_pool(session, "all-active", 200, numbers, hold_seconds=150)
    database.dispose()
    make_past(url, past_calls)


def make_past(url: str, calls: int) -> None:
    """Leases of the last hours for each called number, and past calls over a year, each pair of caller and number once."""
    engine = create_engine(url)
    moment = MOMENT[engine.dialect.name]
    with engine.begin() as connection:
        first = connection.execute(text("SELECT min(id), min(scenario_id), min(project_id) FROM tracking_number")).one()
        values = {"number": first[0], "scenario": first[1], "project": first[2], "numbers": CALLED_NUMBERS}
        values |= {"caller": FIRST_KNOWN_CALLER, "calls": calls, "e164": FIRST_E164}
        values |= {"leases": CALLED_NUMBERS * LEASES_OF_A_NUMBER}
        for statement, days in ((VISITS, 1), (LEASES, 1), (CALLS, 365)):
            since = f"{utc_now() - timedelta(days=days):%Y-%m-%d %H:%M:%S}"
            connection.execute(text(re.sub(r"MOMENT\((.*)\)", moment, statement)), values | {"since": since})
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM"))
        connection.execute(text("ANALYZE"))
    engine.dispose()


def _make_called_numbers(session: Any, numbers: Any) -> None:
    scenario = _make_pool(session, "calls", CALLED_NUMBERS, numbers, hold_seconds=150)
    config = {"url": "https://hooks.shop.example/calls"}
    make_integration(session, scenario, "webhook_start", receiver="webhook:bench", config=config)


def _make_pool(session: Any, key: str, size: int, numbers: Any, hold_seconds: int) -> Any:
    project = make_project(session, key=key, name=key, calls_per_caller=0, calls_per_number=0)
    scenario = make_scenario(session, project, 0, hold_seconds=hold_seconds, tagging={"selectors": [".phone"]})
    e164s = [f"+{next(numbers)}" for _ in range(size)]
    now = utc_now()
    given = {"project_id": project.id, "scenario_id": scenario.id, "created_at": now}
    ids = session.scalars(
        insert(TrackingNumber).returning(TrackingNumber.id, sort_by_parameter_order=True),
        [given | {"e164": e164} for e164 in e164s],
    ).all()
    session.execute(
        insert(table_of(PoolNumber)),
        [
            {"number_id": number_id, "scenario_id": scenario.id, "e164": e164}
            for number_id, e164 in zip(ids, e164s, strict=True)
        ],
    )
    return scenario


MOMENT = {
    "postgresql": r"(CAST(:since AS timestamp) AT TIME ZONE 'UTC' + interval '1 second' * (\1))",
    "sqlite": r"strftime('%Y-%m-%d %H:%M:%f000', :since, (\1) || ' seconds')",
}
"""So many seconds after `since`, written `MOMENT(seconds)`."""
VISITS = """
WITH RECURSIVE visits (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM visits WHERE i < :leases)
INSERT INTO visit (project_id, number, visitor, started_at, span_started_at, last_sign_at, page, referrer,
    channel, source, medium, campaign, term, content, source_key, click_ids, ga, address)
SELECT :project, 100000 + i, 'visitor-' || i,
    MOMENT(86000 * CAST(i AS float8) / :leases),
    MOMENT(86000 * CAST(i AS float8) / :leases),
    MOMENT(86000 * CAST(i AS float8) / :leases + 180),
    'https://shop.example/', '', 'paid_search', 'google', 'cpc', 'c' || (i % 40), '', '', i % 40, '{}', '{}', '127.0.0.0'
FROM visits
"""
LEASES = """
INSERT INTO lease (scenario_id, number_id, visit_id, turn, shared, started_at)
SELECT :scenario, :number + (row_number() OVER (ORDER BY id)) % :numbers, id, -number, false, started_at
FROM visit WHERE project_id = :project
"""
CALLS = """
WITH RECURSIVE numbered (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbered WHERE i < :calls - 1),
calls AS (
    SELECT i,
    MOMENT(31000000 * CAST(i AS float8) / :calls)
    AS at FROM numbered
)
INSERT INTO call (sid, project_id, number_id, number, scenario_id, scenario_enabled, flow, caller, caller_raw,
    started_at, last_event_at, status, first_call, destination, answered_at, ended_at, talk_seconds, recording_sid,
    recording_url, rule, confidence, source_confidence, candidates, decision, source, source_key, fan_out_due)
SELECT 'CAPAST' || i, :project, :number + i % :numbers, '+' || (:e164 + i % :numbers), :scenario, true,
    '{"destinations": [{"to": "+14155550100", "ring_seconds": 20}]}',
    '+' || (:caller + i / :numbers), '+' || (:caller + i / :numbers),
    at, at, 'answered', true, '+14155550100', at, at, 60, '', '', 'lease', 0.9, 0.9, '[]', '{}',
    '{"channel": "paid_search", "source": "google", "medium": "cpc", "campaign": "", "term": "", "content": ""}',
    i % 40, ''
FROM calls
"""
