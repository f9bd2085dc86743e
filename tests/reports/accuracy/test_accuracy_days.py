"""R8: whatever happens, in whatever order, and however often the worker looks, its figures are those of a count from nothing."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import (
    UNCOUNTED_VISITS,
    AccuracyDay,
    AccuracyDue,
    Lease,
    PoolNumber,
    Unserved,
    Visit,
    VisitCounter,
    VisitSpan,
)
from router.attribution.tracking.page_views import keep_page, view_page, with_project
from router.attribution.tracking.projects import TagProject
from router.attribution.tracking.schema import Heartbeat, read_page_view
from router.carriers.base import InboundCall
from router.lib.crypto import KeyRing
from router.lib.formats import span_of
from router.lib.phones import read_caller
from router.reports.accuracy.figures import Figures, call_statement, figures_of, visit_statement
from router.reports.accuracy.jobs import count_noted_day, noted_days, read_countings, refresh_accuracy
from router.scenarios.models import CallFlow, Scenario, TrackingNumber
from router.server import Server
from router.voice.calls import record_inbound
from router.voice.models import UNCOUNTED_CALLS, Call
from router.voice.routing import find_route
from tests.factories import NOON, make_call, make_project, make_scenario
from tests.properties import examples

KEYS = KeyRing(("a-key-of-sixteen-letters",))
PAUSES = st.sampled_from([1, 40, 149, 151, 200, 290, 1799, 20_000, 90_000]).map(
    lambda seconds: timedelta(seconds=seconds)
)
TABLES = (
    AccuracyDue, AccuracyDay, Unserved, Lease, Call, VisitSpan, Visit, PoolNumber, TrackingNumber, CallFlow, Scenario,
    VisitCounter, Project,
)  # fmt: skip
ZONES = ("America/New_York", "Asia/Kathmandu", "Pacific/Auckland", "UTC")
STEPS = st.one_of(
    st.tuples(st.just("view"), st.integers(0, 3), st.sampled_from(["google", "bing"])),
    st.tuples(st.just("view"), st.integers(0, 3), st.sampled_from(["google", "bing"])),
    st.tuples(st.just("sign"), st.integers(0, 9), st.none()),
    st.tuples(st.just("refuse"), st.integers(0, 9), st.sampled_from(["overflow", "keep"])),
    st.tuples(st.just("call"), st.integers(0, 200_000), st.sampled_from([None, 0.25, 0.5, 0.9])),
    st.tuples(st.just("decide again"), st.integers(0, 9), st.sampled_from([None, 0.75])),
    st.tuples(st.just("zone"), st.integers(0, 3), st.none()),
    st.tuples(st.just("hold"), st.sampled_from([100, 150, 1000]), st.none()),
    st.tuples(st.just("turn"), st.none(), st.none()),
    st.tuples(st.just("turn"), st.none(), st.none()),
    st.tuples(st.just("pause"), PAUSES, st.none()),
    st.tuples(st.just("pause"), PAUSES, st.none()),
)


class History:
    """A project with two scenarios of two numbers each, what happens to it, and the worker's turns."""

    def __init__(self, server: Server) -> None:
        self.server, self.now = server, NOON
        with server.database.writing() as session:
            for table in TABLES:
                session.execute(delete(table))
            self.project = make_project(session, key=f"k-{id(self)}"[:32])
            make_scenario(session, self.project, 2, aim="visit", exhausted="share")
            make_scenario(session, self.project, 2, aim="source", exhausted="keep")
        self.visitors: dict[int, str] = {}

    def do(self, what: str, which: Any, how: Any) -> None:
        self.now += timedelta(seconds=1)
        getattr(self, what.replace(" ", "_"))(which, how)

    def view(self, who: int, source: str) -> None:
        view = read_page_view({"page": f"https://shop.example/?utm_source={source}", "visitor": self.visitors.get(who)})

        def viewed(session: Session, project: TagProject | None) -> str:
            assert project is not None
            return view_page(session, KEYS, project, view, self.now).visit.visitor

        self.visitors[who] = with_project(self.server.database, self.project.key, viewed)

    def sign(self, which: int, _: None) -> None:
        visit = self.nth(Visit, which)
        if visit is None:
            return

        def signed(session: Session, project: TagProject | None) -> None:
            assert project is not None
            keep_page(session, project, visit.id, Heartbeat(), self.now)

        with_project(self.server.database, self.project.key, signed)

    def refuse(self, which: int, outcome: str) -> None:
        """A page view that found every number active; it is a sign of life as well."""
        self.sign(which, None)
        visit, scenario = self.nth(Visit, which), self.nth(Scenario, which)
        if visit and scenario:
            with self.server.database.writing() as session:
                session.merge(Unserved(visit_id=visit.id, scenario_id=scenario.id, outcome=outcome, at=self.now))

    def call(self, seconds_ago: int, confidence: float | None) -> None:
        number = self.nth(TrackingNumber, seconds_ago)
        assert number is not None
        at, sid = self.now - timedelta(seconds=seconds_ago), f"CA{self.now.timestamp()}"
        with self.server.database.writing() as session:
            call = make_call(session, self.project, number.e164, at, sid=sid, caller="+14155550101")
            call.scenario_id, call.confidence = number.scenario_id, confidence

    def decide_again(self, which: int, confidence: float | None) -> None:
        call = self.nth(Call, which)
        if call:
            with self.server.database.writing() as session:
                session.execute(update(Call).where(Call.id == call.id).values(confidence=confidence, counted=False))

    def zone(self, which: int, _: None) -> None:
        with self.server.database.writing() as session:
            session.execute(update(Project).values(timezone=ZONES[which]))

    def hold(self, seconds: int, _: None) -> None:
        with self.server.database.writing() as session:
            session.execute(update(Scenario).where(Scenario.aim == "visit").values(hold_seconds=seconds))

    def turn(self, _: None, __: None) -> None:
        refresh_accuracy(self.server, self.now)

    def pause(self, length: timedelta, _: None) -> None:
        self.now += length

    def nth(self, table: Any, which: int) -> Any:
        rows = self.all(table)
        return rows[which % len(rows)] if rows else None

    def all(self, table: Any) -> list[Any]:
        with self.server.database.reading() as session:
            return list(session.scalars(select(table).order_by(*table.__table__.primary_key)))


def counted_from_nothing(history: History) -> dict[tuple[int, str], Figures]:
    """The simple model: every visit and every call is looked at once."""
    [project] = history.all(Project)
    visits = {visit.id: visit for visit in history.all(Visit)}
    holds = {one.id: timedelta(seconds=one.hold_seconds) for one in history.all(Scenario)}
    facts: dict[tuple[int, int], set[str]] = defaultdict(set)
    for lease in history.all(Lease):
        facts[lease.scenario_id, lease.visit_id] |= {"mixed"} if lease.mixed else {"shared"} if lease.shared else set()
    for one in history.all(Unserved):
        facts[one.scenario_id, one.visit_id].add(one.outcome)

    def day(at: datetime) -> str:
        return at.astimezone(ZoneInfo(project.timezone)).date().isoformat()

    days: dict[tuple[int, str], Figures] = defaultdict(Figures)
    for (scenario_id, visit_id), found in facts.items():
        visit = visits[visit_id]
        if history.now - visit.last_sign_at <= holds[scenario_id]:
            continue
        refused = found & {"overflow", "keep"}
        days[scenario_id, day(visit.started_at)] += Figures(
            visits=1,
            shared=bool(found and not refused),
            mixed="mixed" in found and not refused,
            overflowed="overflow" in found,
            kept="keep" in found,
        )
    for call in history.all(Call):
        sure = call.confidence is not None
        days[call.scenario_id, day(call.started_at)] += Figures(
            calls=1, sure_calls=sure, confidence_sum=call.confidence or 0.0
        )
    return {key: replace(found, confidence_sum=round(found.confidence_sum, 4)) for key, found in days.items()}


def kept_by_the_worker(history: History) -> dict[tuple[int, str], Figures]:
    return {(row.scenario_id, row.day): figures_of(row) for row in history.all(AccuracyDay)}


SHORT, LONG = timedelta(seconds=290), timedelta(seconds=1799)
OVER = [("view", 0, "google"), ("pause", SHORT, None), ("turn", None, None)]
TAKEN = [("view", 1, "google"), ("view", 2, "google")]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([*OVER, ("sign", 0, None)], id="a counted visit comes back to life"),
        pytest.param([*OVER, ("sign", 0, None), ("pause", SHORT, None)], id="and is over again"),
        pytest.param([*OVER, *TAKEN, ("view", 0, "google"), ("pause", SHORT, None)], id="its second number is shared"),
        pytest.param([*OVER, ("hold", 1000, None)], id="a longer hold is not over yet"),
        pytest.param([*OVER, ("hold", 1000, None), ("turn", None, None), ("pause", LONG, None)], id="until it is over"),
        pytest.param([*OVER, ("zone", 1, None)], id="another time zone"),
        pytest.param([*OVER, ("sign", 0, None), ("refuse", 0, "keep"), ("pause", SHORT, None)], id="refused late"),
        pytest.param([("call", 200_000, 0.5), ("turn", None, None), ("decide again", 0, 0.75)], id="decided again"),
        pytest.param([("call", 90_000, 0.5), ("turn", None, None), ("call", 90_001, 0.9)], id="a call of yesterday"),
    ],
)
def test_r8_a_late_or_corrected_fact_is_counted(server: Server, steps: list[tuple[str, Any, Any]]) -> None:
    compare(server, steps)


@settings(
    max_examples=examples(10), phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(st.lists(STEPS, min_size=12, max_size=40))
def test_r8_the_days_that_the_worker_keeps_are_those_of_a_count_from_nothing(
    server: Server, steps: list[tuple[str, Any, Any]]
) -> None:
    compare(server, steps)


def test_r8_what_another_worker_counted_meanwhile_is_left_to_him(server: Server) -> None:
    history = History(server)
    for step in OVER:
        history.do(*step)
    day = history.now.astimezone(ZoneInfo("America/New_York")).date().isoformat()
    kept = kept_by_the_worker(history)
    with server.database.writing() as session:
        session.add(AccuracyDue(project_id=history.project.id, at=NOON))
    with server.database.reading() as session:
        counting = read_countings(session)[history.project.id]
    [notes] = noted_days(server, {history.project.id: counting}).values()
    count_noted_day(server, counting, history.project.id, day, [*notes, notes[0] + 1], NOON)
    assert kept_by_the_worker(history) == kept, "at that time no visit was over"
    count_noted_day(server, counting, history.project.id, day, notes, NOON)
    assert kept_by_the_worker(history) == {}
    assert history.all(AccuracyDue) == []


@pytest.mark.parametrize("database_kind", ["sqlite"])  # PostgreSQL's choice depends on what it knows of the tables
def test_r8_a_turn_reads_what_may_have_changed_by_indexes(server: Server) -> None:
    """Of a table of a million visits it sees those that are not counted, and the visits of days that are counted again."""
    day = span_of("2026-11-23", "UTC")
    wanted = {
        "ix_visit_uncounted": select(Visit.id).where(UNCOUNTED_VISITS, Visit.last_sign_at < NOON, Visit.id > 9),
        "ix_call_uncounted": select(Call.id).where(UNCOUNTED_CALLS, Call.id > 9),
        "ix_visit_project_id_started_at": visit_statement(1, [1, 2], day, NOON),
        "ix_lease_visit_id": visit_statement(1, [1, 2], day, NOON),
        "ix_call_project_id_started_at": call_statement(1, [1, 2], day),
        "sqlite_autoindex_unserved_1": visit_statement(1, [1, 2], day, NOON),
    }
    with server.database.reading() as session:
        for index, statement in wanted.items():
            assert index in plan_of(session, statement)


def plan_of(session: Session, statement: Any) -> str:
    compiled = statement.order_by(None).compile(session.get_bind(), compile_kwargs={"render_postcompile": True})
    values = compiled.construct_params()
    processors = compiled._bind_processors
    given = {name: processors[name](value) if name in processors else value for name, value in values.items()}
    ordered = tuple(given[name] for name in compiled.positiontup)
    rows = session.connection().exec_driver_sql("EXPLAIN QUERY PLAN " + str(compiled), ordered)
    return "\n".join(str(row[-1]) for row in rows)


def test_r8_a_call_that_becomes_known_late_and_those_it_changes_are_counted(server: Server) -> None:
    """The first call of a caller comes from the journal a day late, from another visit: his later call is decided again."""
    with server.database.writing() as session:
        make_scenario(session, make_project(session), ["+12125550100"])

    def arrives(source: str, at: datetime) -> None:
        def viewed(session: Session, project: TagProject | None) -> None:
            assert project is not None
            page = {"page": f"https://shop.example/?utm_source={source}"}
            view_page(session, KEYS, project, read_page_view(page), at)

        with_project(server.database, "k-shop", viewed)

    def calls(sid: str, at: datetime, now: datetime) -> None:
        with server.database.writing() as session:
            route = find_route(session, "+12125550100")
            assert route is not None
            inbound = InboundCall(sid, "AC1", read_caller("+14155550177"), "+12125550100", "+12125550100")
            record_inbound(server, session, route, inbound, at, now, announcing=False)

    def kept() -> dict[str, Figures]:
        with server.database.reading() as session:
            return {row.day: figures_of(row) for row in session.scalars(select(AccuracyDay))}

    day = timedelta(days=1)
    arrives("google", NOON - day)
    arrives("bing", NOON - timedelta(seconds=30))
    calls("CA2", NOON, NOON)
    refresh_accuracy(server, NOON + timedelta(minutes=5))
    before = kept()
    assert (before["2026-11-22"].calls, before["2026-11-23"].calls) == (0, 1)
    calls("CA1", NOON - day + timedelta(hours=3), NOON + timedelta(minutes=6))
    refresh_accuracy(server, NOON + timedelta(minutes=10))
    after = kept()
    assert (after["2026-11-22"].calls, after["2026-11-23"].calls) == (1, 1)
    assert after["2026-11-23"].confidence == pytest.approx(after["2026-11-22"].confidence), (
        "a repeat call has the first's"
    )
    assert after["2026-11-23"].confidence != before["2026-11-23"].confidence


def compare(server: Server, steps: list[tuple[str, Any, Any]]) -> None:
    history = History(server)
    for step in steps:
        history.do(*step)
    history.do("turn", None, None)
    assert kept_by_the_worker(history) == counted_from_nothing(history)
    assert history.all(AccuracyDue) == []
