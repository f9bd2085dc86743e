"""Both databases behave alike where the product relies on it."""

import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, select, text
from sqlalchemy.exc import OperationalError

from router.accounts.models import Project, ServerFact
from router.config import Settings
from router.db import MIGRATIONS, Base, Database, has_pooler, insert_new, migrate, newest_revision, schema_state
from router.integrations.models import Delivery, Integration, ReceiverHealth
from router.integrations.webhook import WEBHOOK
from router.scenarios.models import Scenario, TrackingNumber
from router.voice.models import CallRecording

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("postgresql://u:p%40w@db/router", {"host": "db"}),
        (
            "postgresql://u:p%40w@a:5432,b.example:5433/router?sslmode=require",
            {"host": "a,b.example", "port": "5432,5433", "sslmode": "require", "target_session_attrs": "read-write"},
        ),
        ("postgres://u:p%40w@a,b/router", {"host": "a,b", "port": ",", "target_session_attrs": "read-write"}),
        (
            "postgresql://u:p%40w@[::1]:5432,b/router?target_session_attrs=any",
            {"host": "::1,b", "port": "5432,", "target_session_attrs": "any"},
        ),
        (
            "postgresql+psycopg://u:p%40w@/router?host=a:5432&host=b:5433",
            {"host": "a,b", "port": "5432,5433", "target_session_attrs": "read-write"},
        ),
        ("postgresql+psycopg://u:p%40w@/router?host=/run/postgresql", {"host": "/run/postgresql"}),
    ],
)
def test_several_hosts_are_asked_as_libpq_does(address: str, asked: dict[str, str]) -> None:
    """Of several the one that can be written to: a primary that is lost is followed to the replica that was promoted."""
    database = Database(Settings(database_url=address).database)
    _, given = database.engine.dialect.create_connect_args(database.engine.url)
    given.pop("context")
    assert given == {"user": "u", "password": "p@w", "dbname": "router"} | asked


def test_a_database_whose_machine_has_gone_is_given_up_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def connect(**given: Any) -> None:
        asked.append(given)
        raise psycopg.OperationalError("nobody there")

    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(OperationalError), Database("postgresql+psycopg://u:p@db/router").engine.connect():
        pass
    given = asked[0]
    silent = given["keepalives_idle"] + given["keepalives_interval"] * given["keepalives_count"]
    assert (silent <= 20, given["tcp_user_timeout"] <= 5000, given["connect_timeout"] <= 5) == (True, True, True)


@pytest.mark.parametrize("hosts", ["a:5432,b:port", "a,,b", "a:1:2,b", "[::1,b"])
def test_hosts_that_are_none_are_refused(hosts: str) -> None:
    with pytest.raises(ValueError, match="several hosts"):
        Settings(database_url=f"postgresql://u@{hosts}/router")


class Pooled:
    """A connection through a pooler: the process that answers is not the one that it told of."""

    autocommit = False
    info = SimpleNamespace(backend_pid=4)

    def execute(self, statement: str) -> "Pooled":
        assert self.autocommit, "no transaction stays open"
        return self

    def fetchone(self) -> tuple[int]:
        return (17,)


def test_a_pooler_is_known_by_the_process_that_answers() -> None:
    connection = Pooled()
    assert has_pooler(connection)
    assert not connection.autocommit


@pytest.mark.parametrize(("setting", "threshold"), [("auto", 5), ("on", 5), ("off", None)])
def test_statements_are_prepared_where_no_pooler_stands_between(
    database: Database, setting: str, threshold: int | None
) -> None:
    if database.is_sqlite:
        return
    asked = Database(database.engine.url.render_as_string(hide_password=False), prepared_statements=setting)
    with asked.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.prepare_threshold == threshold
    asked.dispose()


def test_the_migrations_make_exactly_the_tables_that_the_models_describe(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_migrating_twice_changes_nothing(database: Database) -> None:
    assert schema_state(database) == "current"
    migrate(database)
    assert schema_state(database) == "current"


def test_the_newest_revision_is_the_one_that_alembic_takes_for_the_head() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == newest_revision()


def test_moments_come_back_aware_and_naive_ones_are_refused(database: Database) -> None:
    with database.writing() as session:
        session.add(ServerFact(name="test", value="x", changed_at=NOON))
    with database.reading() as session:
        assert session.scalar(select(ServerFact.changed_at)) == NOON
    with pytest.raises(Exception, match="time zone"), database.writing() as session:
        session.add(ServerFact(name="naive", value="x", changed_at=NOON.replace(tzinfo=None)))


def test_an_insert_of_what_is_there_says_so(database: Database) -> None:
    values = {"name": "once", "value": "x", "changed_at": NOON}
    with database.writing() as session:
        first = insert_new(session, ServerFact, unique=["name"]).values(**values).returning(ServerFact.name)
        assert session.execute(first).scalar_one_or_none() == "once"
        assert session.execute(first).scalar_one_or_none() is None


def test_a_thread_that_writes_cannot_begin_to_write_again_on_sqlite(database: Database) -> None:
    if not database.is_sqlite:
        return
    with pytest.raises(RuntimeError, match="writing already"), database.writing(), database.writing():
        pass


def test_what_static_numbers_stood_for_becomes_channels(database: Database) -> None:
    """From the release before: a scenario with a static and a dynamic number, and a free number."""
    _begin_anew(database)
    _upgrade(database, "0002")
    flyer = '{"source": "flyer", "medium": "print", "campaign": ""}'
    with database.engine.execution_options(router_writing=True).begin() as connection:
        connection.execute(
            text(
                "INSERT INTO project (id, key, name, site, country, timezone, currency, email, fallback_destination,"
                " visit_gap_seconds, created_at, version) VALUES (1, 'k', 'Shop', '[]', '', 'UTC', 'EUR', 'a@b.example',"
                " '+14155550100', 1800, '2026-11-23 12:00:00+00:00', 1)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO scenario (id, project_id, title, enabled, aim, exhausted, hold_seconds, tagging, created_at,"
                " version, calls) VALUES (7, 1, 'Print', true, 'visit', 'share', 150, '{}', '2026-11-23 12:00:00+00:00', 1, 0)"
            )
        )
        for index, (scenario_id, source) in enumerate(((7, flyer), (7, None), (None, None))):
            connection.execute(
                text(
                    "INSERT INTO tracking_number (project_id, e164, scenario_id, static_source, owned_elsewhere, pinned,"
                    " created_at, calls) VALUES (1, :e164, :scenario_id, :source, true, false, '2026-11-23 12:00:00+00:00', 0)"
                ),
                {"e164": f"+1415555012{index}", "scenario_id": scenario_id, "source": source},
            )
    migrate(database)
    with database.reading() as session:
        (scenario,) = session.scalars(select(Scenario)).all()
        match = {"source": "flyer", "medium": "print"}
        assert scenario.channels == [{"match": match, "kind": "static", "number": "+14155550120"}]
        assert len(session.scalars(select(TrackingNumber)).all()) == 3


def test_recordings_that_calls_knew_of_are_to_be_fetched(database: Database) -> None:
    """From the release before: one of two calls was recorded, and a third one whose caller is forgotten."""
    _begin_anew(database)
    _upgrade(database, "0018")
    with database.engine.execution_options(router_writing=True).begin() as connection:
        for project_id in (1, 2):
            connection.execute(
                text(
                    "INSERT INTO project (id, key, name, site, country, timezone, currency, email, fallback_destination,"
                    " visit_gap_seconds, created_at, version) VALUES (:id, :key, 'Shop', '[]', '', 'UTC', 'EUR', 'a@b.example',"
                    " '+14155550100', 1800, '2026-11-23 12:00:00+00:00', 1)"
                ),
                {"id": project_id, "key": f"k{project_id}"},
            )
        for sid, recording, forgotten in (("CA1", "RE1", None), ("CA2", "", None), ("CA3", "RE3", 5)):
            connection.execute(
                text(
                    "INSERT INTO call (sid, project_id, kind, number_id, number, scenario_enabled, flow, caller_raw, forgotten_id,"
                    " started_at, last_event_at, status, first_call, destination, ended_at, recording_sid, recording_url,"
                    " recording_seconds, rule, candidates, decision, fan_out_due, counted)"
                    " VALUES (:sid, 1, 'external', 1, '+1', true, '{}', '', :forgotten, :at, :at, 'answered', true, '', :at,"
                    " :recording, 'https://api.example/RE', 44, 'none', '[]', '{}', '', false)"
                ),
                {"sid": sid, "recording": recording, "forgotten": forgotten, "at": "2026-11-23 12:00:00.000000"},
            )
    migrate(database)
    with database.reading() as session:
        rows = session.scalars(select(CallRecording).order_by(CallRecording.sid)).all()
        days = session.scalars(select(Project.recording_days).order_by(Project.id)).all()
    assert days == [0, 90], "what is there is not deleted before somebody has said so"
    assert [(row.sid, row.call_sid, row.seconds, row.state) for row in rows] == [
        ("RE1", "CA1", 44, "waiting"),
        ("RE3", "CA3", 44, "removing"),
    ]
    assert {(row.told_at, row.next_at) for row in rows} == {(NOON, NOON)}


def test_webhooks_are_known_by_their_whole_address(database: Database) -> None:
    """From the release before: two paths of one host, which shared a receiver, and a CRM, which stays as it is."""
    _begin_anew(database)
    _upgrade(database, "0028")
    address = "https://Hooks.example.com/calls/?key=secret"
    with database.engine.execution_options(router_writing=True).begin() as connection:
        project = {"key": "k", "name": "Shop", "site": "[]", "country": "", "timezone": "UTC", "currency": "EUR"}
        project |= {"email": "a@b.example", "fallback_destination": "+14155550100", "visit_gap_seconds": 1800}
        _insert(connection, "project", id=3, created_at=NOON, version=1, **project)
        for place, (kind, config, receiver) in enumerate(
            (
                ("webhook", {"url": address}, "webhook:3:hooks.example.com"),
                ("webhook", {"url": "http://10.0.0.1:8080/" + "long" * 20}, "webhook:3:10.0.0.1:8080"),
                ("odoo", {"url": "https://crm.example.com", "database": "main"}, "odoo:3:crm.example.com/main"),
            ),
            1,
        ):
            scenario = {"aim": "visit", "exhausted": "share", "hold_seconds": 150, "tagging": "{}", "calls": 0}
            _insert(connection, "scenario", id=place, project_id=3, title="S", created_at=NOON, **scenario)
            stored = {"slot": "webhook_end", "kind": kind, "destination": receiver, "config": json.dumps(config)}
            _insert(
                connection,
                "integration",
                id=place,
                project_id=3,
                scenario_id=place,
                sealed="",
                created_at=NOON,
                **stored,
            )
            for state in ("pending", "dead", "done"):
                delivery = {"project_id": 3, "integration_id": place, "call_id": place, "event": state, "state": state}
                delivery |= {"message_id": f"{place}{state}", "destination": receiver, "order_key": "", "reason": ""}
                delivery |= {"attempts": 1, "reference": "{}", "lease_owner": "", "changed": False}
                _insert(connection, "delivery", created_at=NOON, event_at=NOON, next_at=NOON, **delivery)
        _insert(connection, "destination_health", destination="webhook:3:hooks.example.com", failures=3, last_error="")
        _insert(connection, "destination_health", destination="odoo:3:crm.example.com/main", failures=3, last_error="")
    migrate(database)
    with database.reading() as session:
        names = session.scalars(select(Integration.receiver).order_by(Integration.id)).all()
        of = WEBHOOK.receiver(3, WEBHOOK.settings.model_validate({"url": address}))
        assert names[0] == of
        assert re.fullmatch("webhook:3:hooks.example.com/calls[?][0-9a-f]{8}", of), "whose query may be a secret"
        assert names[1].startswith("webhook:3:http://10.0.0.1:8080/longlong")
        assert len(names[1]) == 80
        assert names[2] == "odoo:3:crm.example.com/main"
        written = session.execute(select(Delivery.integration_id, Delivery.state, Delivery.receiver)).all()
        assert {(row.integration_id, row.state): row.receiver for row in written if row.integration_id == 1} == {
            (1, "pending"): of,
            (1, "dead"): of,
            (1, "done"): "webhook:3:hooks.example.com",
        }
        assert session.scalars(select(ReceiverHealth.receiver)).all() == ["odoo:3:crm.example.com/main"]


def _insert(connection: Connection, into: str, **values: Any) -> None:
    """A row of a table as it was then; what it demands and is not given is nothing, 0 or false."""
    table = Table(into, MetaData(), autoload_with=connection)
    for column in table.columns:
        if (
            not column.nullable
            and not column.primary_key
            and column.server_default is None
            and column.name not in values
        ):
            kind = str(column.type)
            values[column.name] = False if kind == "BOOLEAN" else 0 if "INT" in kind else "[]" if "JSON" in kind else ""
    moments = {name: value.replace(tzinfo=None) for name, value in values.items() if isinstance(value, datetime)}
    values |= moments if connection.dialect.name == "sqlite" else {}
    values |= {
        name: json.loads(value)
        for name, value in values.items()
        if "JSON" in str(table.columns[name].type) and isinstance(value, str)
    }
    connection.execute(table.insert().values(values))


def _begin_anew(database: Database) -> None:
    """An empty database without tables."""
    with database.engine.execution_options(router_writing=True).begin() as connection:
        if database.is_sqlite:
            tables = connection.execute(
                text("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            )
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
            for (name,) in tables.all():
                connection.execute(text(f'DROP TABLE "{name}"'))
        else:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))


def _upgrade(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "router:migrations")
    with database.engine.execution_options(router_writing=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
