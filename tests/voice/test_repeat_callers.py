"""R7, rule 1 over stored calls: number moves, late knowledge, and the project's choice of what repeat calls are credited to."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from router.attribution.tracking.page_views import keep_page, ping, view_page
from router.attribution.tracking.projects import TagProject, find_tag_project
from router.attribution.tracking.schema import Heartbeat, read_page_view
from router.attribution.tracking.sources import named_source
from router.attribution.tracking.visitors import record_tap
from router.carriers.base import InboundCall
from router.lib.phones import Caller, read_caller
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.voice.calls import attribute, record_inbound
from router.voice.importing.calls import OldCall, write_some
from router.voice.models import Call, CallEvent
from router.voice.routing import find_route, route_of
from tests.counting import count_statements
from tests.factories import NOON, make_number, make_project, make_scenario
from tests.properties import examples

NUMBER, SECOND = "+12125550100", "+12125550101"
ANNA, BERTA = "+14155550177", "+14155550178"
CREDITS = ["first_call", "last_non_direct", "own_visit"]
QUERIES = {
    "google": "?utm_source=google&utm_medium=cpc&utm_campaign=spring",
    "mail": "?utm_source=mail&utm_medium=email",
    "direct": "",
}
BILLBOARD = {"source": "billboard", "medium": "print", "campaign": ""}


class Shop:
    """A project in one transaction, which nobody else sees and which is rolled back."""

    def __init__(self, server: Server, session: Session, credit: str) -> None:
        self.server, self.session = server, session
        self.project = make_project(session, repeat_credit=credit)
        self.scenario = make_scenario(session, self.project, [NUMBER, SECOND])
        self.now = NOON
        self.visitors: dict[str, tuple[str, int]] = {}

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def visit(self, who: str, source: str) -> list[str]:
        """A page view; the numbers that it is shown."""
        visitor, _ = self.visitors.get(who, (None, None))
        view = read_page_view({"page": f"https://shop.example/{QUERIES[source]}", "visitor": visitor})
        arrival = view_page(self.session, self.server.keys, self._tag, view, self.now)
        self.visitors[who] = arrival.visit.visitor, arrival.visit.id
        return [one.e164 for one in arrival.numbers]

    def sign(self, who: str) -> None:
        if who in self.visitors:
            keep_page(self.session, self._tag, self.visitors[who][1], Heartbeat(), self.now)

    def leave(self, who: str) -> None:
        if who in self.visitors:
            ping(self.session, self._tag, self.visitors[who][1], Heartbeat(), self.now, left=True)

    def tap(self, who: str, number: str) -> None:
        if who in self.visitors:
            ping(self.session, self._tag, self.visitors[who][1], Heartbeat(), self.now)
            record_tap(self.session, self.project.id, self.visitors[who][1], number, self.now)

    @property
    def _tag(self) -> TagProject:
        found = find_tag_project(self.session, self.project.key)
        assert found is not None
        return replace(found, scenarios=[replace(one, locked=True) for one in found.scenarios])

    def call(self, sid: str, number: str = NUMBER, caller: str | None = ANNA, at: datetime | None = None) -> None:
        """A call that becomes known now."""
        route = find_route(self.session, number)
        assert route is not None
        inbound = InboundCall(sid, "AC1", Caller(caller, caller or ""), number, number)
        record_inbound(self.server, self.session, route, inbound, at or self.now, self.now, True)

    def old_call(self, caller: str, source: str, at: datetime, number: str = NUMBER) -> None:
        route = find_route(self.session, number)
        assert route is not None
        named = named_source(source, "cpc") if source else None
        old = OldCall(route.number_id, number, caller, at, named.source if named else "", "cpc" if named else "", "")
        write_some(self.server, self.session, self.project, [old], self.now)

    def changed(self, **values: Any) -> None:
        self.session.flush()
        self.session.execute(update(TrackingNumber).where(TrackingNumber.e164 == NUMBER).values(**values))
        self.session.expire_all()

    def calls(self, caller: str | None = ANNA) -> list[Call]:
        found = select(Call).where(Call.caller == caller).order_by(Call.started_at, Call.sid)
        return list(self.session.scalars(found.execution_options(populate_existing=True)))

    def told(self, caller: str | None = ANNA) -> list[tuple[str, str | None, bool]]:
        return [(one.rule, (one.source or {}).get("source"), one.first_call) for one in self.calls(caller)]


Open = Callable[..., Shop]


@pytest.fixture
def opened(server: Server) -> Any:
    with server.database.writing() as session:
        yield lambda credit="first_call": Shop(server, session, credit)
        session.rollback()


def test_r7_each_choice_credits_another_call(opened: Open) -> None:
    shop = opened()
    expected = {
        "first_call": [("lease", "google", True), *[("repeat", "google", False)] * 3],
        "last_non_direct": [
            ("lease", "google", True), ("lease", "mail", False), ("repeat", "mail", False), ("repeat", "mail", False),
        ],
        "own_visit": [
            ("lease", "google", True), ("lease", "mail", False), ("lease", "direct", False), ("none", None, False),
        ],
    }  # fmt: skip
    shop.scenario.enabled = True
    shop.session.execute(text("DELETE FROM pool_number WHERE e164 = :it"), {"it": SECOND})
    for i, source in enumerate(("google", "mail", "direct")):
        shop.visit(f"v{i}", source)
        shop.passes(20)
        for j, credit in enumerate(CREDITS):
            shop.project.repeat_credit = credit
            shop.session.flush()
            shop.call(f"CA{i}{j}", caller=f"{ANNA[:-1]}{j}")
        shop.passes(86400)
    shop.passes(40 * 86400)
    for j, credit in enumerate(CREDITS):
        shop.project.repeat_credit = credit
        shop.session.flush()
        shop.call(f"CA9{j}", caller=f"{ANNA[:-1]}{j}")
        assert shop.told(f"{ANNA[:-1]}{j}") == expected[credit], credit


@pytest.mark.parametrize("credit", CREDITS[:2])
def test_r7_a_caller_stays_known_when_the_number_moves_becomes_static_or_comes_back(opened: Open, credit: str) -> None:
    shop = opened(credit)
    shop.call("CA0", SECOND)
    assert NUMBER in shop.visit("v", "google") + shop.visit("w", "google")
    shop.call("CA1")
    shop.passes(3600)
    other = make_scenario(shop.session, shop.project, 0)
    for number, values in enumerate(
        (
            {"scenario_id": other.id},
            {"static_source": BILLBOARD},
            {"scenario_id": None, "static_source": None},
            {"released_at": shop.now},
            {"released_at": None},
        )
    ):
        shop.changed(**values)
        shop.passes(40 * 86400)
        shop.call(f"CA2{number}")
    assert shop.told()[1:] == [("lease", "google", True), *[("repeat", "google", False)] * 5]


def test_r7_in_another_project_a_number_has_a_row_of_its_own(opened: Open) -> None:
    shop = opened()
    shop.changed(static_source=BILLBOARD)
    shop.call("CA1")
    shop.changed(released_at=shop.now)
    garage = make_project(shop.session, key="k-garage", name="Garage")
    make_number(shop.session, garage, NUMBER)
    shop.passes(60)
    shop.call("CA2")
    assert shop.told() == [("static", "billboard", True), ("none", None, True)]
    old = select(TrackingNumber.id).where(TrackingNumber.project_id == shop.project.id, TrackingNumber.e164 == NUMBER)
    route = route_of(shop.session, shop.session.execute(old).scalar_one())
    assert route is not None
    assert attribute(shop.session, route, Caller(ANNA, ANNA), shop.now)[1] is True


@pytest.mark.parametrize("credit", CREDITS)
def test_r7_a_withheld_caller_is_never_a_repeat_one(opened: Open, credit: str) -> None:
    shop = opened(credit)
    shop.changed(static_source=BILLBOARD)
    for sid in ("CA1", "CA2"):
        shop.call(sid, caller=None)
        shop.passes(60)
    assert shop.told(None) == [("static", "billboard", False)] * 2


@pytest.mark.parametrize("spelling", ["+1 (415) 555-0177", " +14155550177", "+1.415.555.0177"])
def test_r7_a_callers_spelling_changes_nothing(spelling: str) -> None:
    assert read_caller(spelling).e164 == ANNA


@pytest.mark.parametrize("credit", CREDITS)
def test_r7_the_choice_costs_no_statement(opened: Open, server: Server, credit: str) -> None:
    shop = opened("first_call")
    shop.call("CA1")
    shop.passes(60)
    with count_statements(server.database) as usual:
        shop.call("CA2")
    shop.project.repeat_credit = credit
    shop.session.flush()
    shop.passes(60)
    with count_statements(server.database) as chosen:
        shop.call("CA3")
    assert len(chosen) == len(usual)


def test_r7_a_changed_choice_or_number_leaves_earlier_calls_as_they_are_when_they_are_decided_again(
    opened: Open,
) -> None:
    shop = opened("own_visit")
    shop.visit("v", "google")
    shop.visit("w", "google")
    shop.passes(100)
    shop.call("CA2")
    assert {one["state"] for one in shop.calls()[0].candidates} == {"hold"}
    shop.passes(60)
    shop.changed(static_source=BILLBOARD, overflow=True)
    shop.project.repeat_credit = "first_call"
    shop.scenario.hold_seconds = 20
    shop.session.flush()
    before = [(one.rule, one.source, one.confidence, one.candidates) for one in shop.calls()]
    shop.call("CA1", at=NOON - timedelta(minutes=5))
    after = shop.calls()
    assert [(one.rule, one.source, one.confidence, one.candidates) for one in after[1:]] == before
    assert [one.first_call for one in after] == [True, False]


def test_r7_in_whatever_order_two_calls_of_one_moment_become_known_the_same_is_the_first(opened: Open) -> None:
    shop = opened()
    for caller, sids in ((ANNA, ("CA1", "CA2")), (BERTA, ("CB2", "CB1"))):
        for sid in sids:
            shop.passes(60)
            shop.call(sid, caller=caller, at=NOON)
        assert [(one.sid[-1], one.first_call) for one in shop.calls(caller)] == [("1", True), ("2", False)]


def test_r7_a_call_that_is_decided_again_keeps_what_its_source_was(opened: Open) -> None:
    shop = opened()
    shop.visit("v", "google")
    first = shop.now
    shop.passes(5)
    shop.visit("x", "google")
    shop.passes(5 * 86400)
    numbers = shop.visit("w", "mail")
    shop.call("CA2", number=numbers[0])
    was = shop.calls()[0].source
    shop.passes(60)
    shop.call("CA1", number=numbers[0], at=first + timedelta(seconds=5))
    [kept] = shop.session.scalars(select(CallEvent).where(CallEvent.call_sid == "CA2")).all()
    assert (kept.kind, kept.facts["source"], kept.at) == ("corrected", was, shop.now)
    assert shop.calls()[1].rule == "repeat"
    assert shop.calls()[1].source != was


events = st.lists(
    st.tuples(
        st.sampled_from(["visit", "visit", "sign", "leave", "tap", "call", "call", "call", "old"]),
        st.integers(0, 2),  # which visitor or caller
        st.sampled_from(sorted(QUERIES)),
        st.sampled_from([NUMBER, NUMBER, SECOND]),
        st.sampled_from([1, 5, 40, 100, 400, 3000, 90000, 40 * 86400]),  # seconds until the next event
        st.integers(0, 6),  # 0: known at once; else the turn in which it becomes known
    ),
    min_size=3,
    max_size=14,
)


@pytest.mark.parametrize("credit", CREDITS)
def test_r7_calls_are_attributed_alike_at_once_and_replayed_in_any_order(server: Server, credit: str) -> None:
    """The same visits are called about twice: by callers whose calls become known in order, and by others whose calls come late."""

    @settings(max_examples=examples(25), suppress_health_check=list(HealthCheck))
    @given(events)
    def hold(happened: list[Any]) -> None:
        with server.database.writing() as session:
            shop = Shop(server, session, credit)
            _live(shop, happened)
            for caller in range(3):
                prompt, late = (shop.calls(_caller(caller, twice)) for twice in (False, True))
                assert [_seen(one, prompt) for one in prompt] == [_seen(one, late) for one in late]
            session.rollback()

    hold()


def _live(shop: Shop, happened: list[Any]) -> None:
    late: list[tuple[int, Callable[[], None]]] = []
    for i, (what, who, source, number, seconds, turn) in enumerate(happened):
        if what == "visit":
            shop.visit(f"v{who}", source)
        elif what == "sign":
            shop.sign(f"v{who}")
        elif what == "leave":
            shop.leave(f"v{who}")
        elif what == "tap":
            shop.tap(f"v{who}", number)
        elif what == "old":
            at, named = shop.now - timedelta(days=3), "" if source == "direct" else source
            shop.old_call(_caller(who, False), named, at, number)
            late.append((turn, lambda w=who, n=named, a=at, b=number: shop.old_call(_caller(w, True), n, a, b)))
        else:
            shop.call(f"CA{i:02d}", number, _caller(who, False))
            known_late = (f"CB{i:02d}", number, _caller(who, True), shop.now)
            if turn:
                late.append((turn, lambda given=known_late: shop.call(*given)))
            else:
                shop.call(*known_late)
        shop.passes(seconds)
    shop.passes(3600)
    for _, become_known in sorted(late, key=lambda one: one[0]):
        become_known()


def _caller(who: int, twice: bool) -> str:
    return f"+1415555{'02' if twice else '01'}{70 + who}"


def _seen(call: Call, of: list[Call]) -> Any:
    """All that was decided; another call is named by its place."""
    steps = [
        {
            name: [one.id for one in of].index(value) if name.endswith("call_id") else value
            for name, value in step.items()
        }
        for step in call.decision["steps"]
    ]
    decided = (call.rule, call.source, call.confidence, call.source_confidence, call.visit_id, call.first_call)
    return call.started_at, *decided, call.candidates, steps
