"""R6 and R7 under everything that visitors do: hypothesis opens, reads, closes and reopens pages, with and without a place for their
numbers, while the clock goes forward, under each policy of an exhausted pool. The clocks of the browsers play no part: no request names a
time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.decision import decide, weighed_candidates
from router.attribution.models import Lease, PoolNumber, Unserved, Visit
from router.attribution.pool.numbers import follow_numbers
from router.attribution.tracking.page_views import PageNumbers, keep_page, ping, view_page, with_project
from router.attribution.tracking.projects import TagProject, find_tag_project
from router.attribution.tracking.schema import Heartbeat, read_page_view
from router.attribution.tracking.visitors import record_tap
from router.db import Base, Database
from router.lib.crypto import KeyRing
from router.scenarios.models import Scenario
from tests.factories import NOON, make_number, make_project, make_scenario
from tests.properties import examples

T = TypeVar("T")

HOLD = timedelta(seconds=150)
KEYS = KeyRing(("a-key-of-sixteen-letters",))
PAUSES = (0.2, 1, 20, 44, 74.9, 75.1, 76, 120, 149, 151, 300, 1799, 1801, 90_000)
QUERIES = ("", "?utm_source=google&utm_medium=cpc", "?utm_source=mail", "?gclid=one", "?gclid=two")
PEOPLE = st.integers(0, 4)


@dataclass
class Page:
    """What the browser of a visitor shows, and when its visit last said that it lives."""

    visitor: str
    last_sign: datetime
    shown: dict[int, str] = field(default_factory=dict)
    """E.164 by scenario."""
    lost: set[int] = field(default_factory=set)
    """Scenarios whose number was given away before the page was left, so that nobody could tell it. It may share that number when it comes
    back at once."""
    waiting: dict[int, str] = field(default_factory=dict)
    """Numbers that were given away and replaced by none, by scenario: each sign of life asks for another."""
    source_key: int = 0
    given_back: set[int] = field(default_factory=set)
    """Scenarios whose number stood nowhere on it: nothing is held until it asks anew."""

    def is_active(self, now: datetime) -> bool:
        return now - self.last_sign <= HOLD


class PoolLife(RuleBasedStateMachine):
    """Two scenarios with two numbers each, aims *visit* and *source*, and up to five visitors."""

    database: Database
    policy = "share"

    @initialize()
    def open_shop(self) -> None:
        with self.database.writing() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(table.delete())
            self.key = f"k-{id(self)}-{len(KEYS.keys)}"[:32]
            project = make_project(session, key=self.key)
            self.scenarios = {
                make_scenario(session, project, 2, aim=aim, title=aim, exhausted=self.policy).id: aim
                for aim in ("visit", "source")
            }
            self.extras = {scenario: f"+1213555900{scenario % 10}" for scenario in self.scenarios}
            for scenario, e164 in self.extras.items():
                number = make_number(session, project, e164, session.get_one(Scenario, scenario))
                number.overflow = True
                follow_numbers(session, [number.id])
        with self.database.reading() as session:
            found = find_tag_project(session, self.key)
        assert found is not None
        self.project: TagProject = found
        self.now = NOON
        self.visitors: dict[int, str] = {}
        self.pages: dict[int, Page] = {}
        self.open: dict[int, int] = {}
        self.calls: list[tuple[int, datetime, Any]] = []
        self.unserved: set[tuple[int, int]] = set()

    def doing(self, work: Callable[[Session, TagProject], T]) -> T:
        """As the tag's endpoints do it: anew in the turn of the pools when a number was lost."""

        def checked(session: Session, project: TagProject | None) -> T:
            assert project is not None
            return work(session, project)

        return with_project(self.database, self.key, checked)

    def tick(self) -> None:
        self.now += timedelta(milliseconds=1)

    @rule(seconds=st.sampled_from(PAUSES))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(person=PEOPLE, query=st.sampled_from(QUERIES))
    def somebody_views_a_page(self, person: int, query: str) -> None:
        self.tick()
        view = read_page_view({"page": f"https://shop.example/{query}", "visitor": self.visitors.get(person)})
        before = self.pages.get(self.open.get(person, 0))
        kept_before = self.kept()
        idle_before = {scenario: self.idle_numbers(scenario) for scenario in self.scenarios}
        arrival = self.doing(lambda session, project: view_page(session, KEYS, project, view, self.now))
        visit_id, visitor = arrival.visit.id, arrival.visit.visitor
        assert self.visitors.setdefault(person, visitor) == visitor
        known = self.pages.get(visit_id)
        shown = self.lent(visit_id, {one.scenario.id: one.e164 for one in arrival.numbers}, self.scenarios, idle_before)
        for scenario in self.scenarios:
            had = (known or before or Page("", self.now)).shown.get(scenario)
            again = known is not None or before is None or before.source_key == arrival.visit.source_key
            if had and self.scenarios[scenario] == "source" and not again:
                continue
            if had and (visit_id if known else self.open[person], scenario) in kept_before:
                assert shown.get(scenario) == had, (
                    "an active visit keeps its number; an ended one gets it back if nobody was lent it since"
                )
                idle_before[scenario] = set()
            elif known and scenario in known.lost and shown.get(scenario) == had:
                idle_before[scenario] = set()
        self.lends_idle_ones_first(shown, idle_before, visitor)
        waiting = {**known.shown, **known.waiting} if known else {}
        still_waiting = {one: e164 for one, e164 in waiting.items() if one not in shown}
        self.pages[visit_id] = Page(
            visitor, self.now, shown, waiting=still_waiting, source_key=arrival.visit.source_key
        )
        self.open[person] = visit_id

    def lent(
        self, visit_id: int, shown: dict[int, str], asked: Iterable[int], idle_before: dict[int, set[str]]
    ) -> dict[int, str]:
        """Of what a page shows, the numbers that were lent to it. Who was lent none was right to be lent none, and is counted."""
        numbers = {scenario: e164 for scenario, e164 in shown.items() if e164 != self.extras[scenario]}
        for scenario in set(asked) - set(numbers):
            assert self.policy != "share", "every scenario gives a number: exhausted pools share"
            assert shown.get(scenario) == (self.extras[scenario] if self.policy == "overflow" else None)
            assert not idle_before[scenario], "only an exhausted pool lends none"
            self.unserved.add((visit_id, scenario))
        return numbers

    def lends_idle_ones_first(self, lent: dict[int, str], idle_before: dict[int, set[str]], visitor: str) -> None:
        for scenario, e164 in lent.items():
            if any(page.visitor == visitor and page.shown.get(scenario) == e164 for page in self.pages.values()):
                continue  # nobody shares with himself
            if idle_before[scenario] and (self.policy != "share" or self.scenarios[scenario] == "visit"):
                assert e164 in idle_before[scenario], "numbers are shared only when none is idle"

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def an_open_page_says_that_it_lives(self, data: st.DataObject) -> None:
        self.tick()
        visit_id = data.draw(st.sampled_from(sorted(self.pages)))
        page = self.pages[visit_id]
        kept = self.kept()
        gone = {scenario for scenario in page.shown if (visit_id, scenario) not in kept}
        gone |= {one for one, e164 in page.waiting.items() if self.holders()[e164] != page.visitor}
        idle_before = {scenario: self.idle_numbers(scenario) for scenario in self.scenarios}
        arrival = self.doing(lambda session, project: keep_page(session, project, visit_id, Heartbeat(), self.now))
        assert arrival is not None
        changed = {one.scenario.id: one.e164 for one in arrival.numbers}
        told = {*changed, *arrival.withdrawn}
        assert gone - page.lost <= told <= gone, "a page is told of a number that was given away, and of no other"
        gone = told
        lent = self.lent(visit_id, changed, gone, idle_before)
        self.lends_idle_ones_first(lent, idle_before, page.visitor)
        left = {one: e164 for one, e164 in page.shown.items() if one not in gone}
        waiting = {one: e164 for one, e164 in (page.shown | page.waiting).items() if one not in {**left, **lent}}
        self.pages[visit_id] = replace(page, last_sign=self.now, shown=left | lent, lost=set(), waiting=waiting)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), left=st.booleans())
    def a_page_says_which_numbers_stand_on_it(self, data: st.DataObject, left: bool) -> None:
        self.tick()
        visit_id = data.draw(st.sampled_from(sorted(self.pages)))
        said = data.draw(st.sets(st.sampled_from(sorted(self.scenarios))))
        page, on_page = self.pages[visit_id], self.on_page(visit_id)
        missing = {*page.shown, *page.waiting} - said - on_page
        again = page.given_back & said
        lost = page.lost | {one for one in page.shown if (visit_id, one) not in self.kept()}
        idle_before = {scenario: self.idle_numbers(scenario) for scenario in self.scenarios}
        arrival = self.said(visit_id, Heartbeat(shown=frozenset(said)), left)
        changed = {one.scenario.id: one.e164 for one in arrival.numbers} if arrival else {}
        told = {*changed, *arrival.withdrawn} if arrival else set()
        assert not arrival or missing <= set(arrival.withdrawn), "a number without a place is given back"
        assert not (page.given_back - said) & told, "what was given back stays so until the page asks anew"
        lent = self.lent(visit_id, changed, told - missing, idle_before)
        newest = self.newest(visit_id)
        taken_again = {one: newest[one] for one in again - told if one in newest}
        self.lends_idle_ones_first(lent | taken_again, idle_before, page.visitor)
        gone = told | missing
        shown = {one: e164 for one, e164 in page.shown.items() if one not in gone} | lent | taken_again
        waiting = {one: e164 for one, e164 in (page.shown | page.waiting).items() if one in told - missing - {*lent}}
        waiting |= {one: e164 for one, e164 in page.waiting.items() if one not in {*shown, *missing}}
        given_back = (page.given_back | missing) - {*shown, *told} | missing
        still_lost = (lost & {*shown}) - {*lent} if left else set()
        self.pages[visit_id] = replace(
            page, last_sign=self.now, shown=shown, lost=still_lost, waiting=waiting, given_back=given_back
        )

    def said(self, visit_id: int, report: Heartbeat, left: bool) -> PageNumbers | None:
        if not left:
            return self.doing(lambda session, project: keep_page(session, project, visit_id, report, self.now))
        with self.database.writing() as session:
            assert ping(session, self.project, visit_id, report, self.now, left=True)
        return None

    def newest(self, visit_id: int) -> dict[int, str]:
        """The numbers by scenario that the visit was lent last and did not give back."""
        with self.database.reading() as session:
            rows = session.execute(self.leases_of(visit_id)).all()
        return {
            row.scenario_id: row.e164 for row in {row.scenario_id: row for row in rows}.values() if not row.returned_at
        }

    def on_page(self, visit_id: int) -> set[int]:
        """The scenarios whose number the visit's pages have said to show."""
        with self.database.reading() as session:
            rows = session.execute(self.leases_of(visit_id)).all()
        return {row.scenario_id for row in {row.scenario_id: row for row in rows}.values() if row.shown_at}

    @staticmethod
    def leases_of(visit_id: int) -> Any:
        columns = (Lease.scenario_id, PoolNumber.e164, Lease.shown_at, Lease.returned_at)
        leases = select(*columns).join(PoolNumber, PoolNumber.number_id == Lease.number_id)
        return leases.where(Lease.visit_id == visit_id).order_by(Lease.id)

    @rule(query=st.sampled_from(QUERIES))
    def somebody_sees_a_page_without_a_place(self, query: str) -> None:
        """His numbers are as idle and as much somebody's as before, as soon as his page has said so."""
        self.tick()
        view = read_page_view({"page": f"https://shop.example/{query}"})
        before = self.rows()
        arrival = self.doing(lambda session, project: view_page(session, KEYS, project, view, self.now))
        lent = {one.scenario.id for one in arrival.numbers if one.e164 != self.extras[one.scenario.id]}
        self.unserved |= {(arrival.visit.id, scenario) for scenario in set(self.scenarios) - lent}
        self.tick()
        answer = self.said(arrival.visit.id, Heartbeat(shown=frozenset()), False)
        assert answer is not None
        assert set(answer.withdrawn) == lent
        after = self.rows()
        for e164, (visitor, *whose, last_sign) in before.items():
            assert after[e164][0] == visitor or not visitor, "who has lost it may get it back in the end"
            assert list(after[e164][1:3]) == whose
            assert after[e164][3] <= last_sign
            assert (self.now - after[e164][3] > HOLD) == (self.now - last_sign > HOLD)

    def rows(self) -> dict[str, tuple[Any, ...]]:
        """What leases change of each pool number, without what only counts them."""
        columns = (PoolNumber.visitor, PoolNumber.source_key, PoolNumber.lease_started_at, PoolNumber.last_sign_at)
        with self.database.reading() as session:
            return {row[0]: tuple(row[1:]) for row in session.execute(select(PoolNumber.e164, *columns))}

    @precondition(lambda self: self.open)
    @rule(data=st.data(), left=st.booleans())
    def a_page_is_left_or_a_number_tapped(self, data: st.DataObject, left: bool) -> None:
        self.tick()
        visit_id = data.draw(st.sampled_from(sorted(self.pages)))
        page = self.pages[visit_id]
        lost = {scenario for scenario in self.scenarios if (visit_id, scenario) not in self.kept()}
        with self.database.writing() as session:
            assert ping(session, self.project, visit_id, Heartbeat(), self.now, left=left)
            for e164 in [] if left else page.shown.values():
                record_tap(session, self.project.id, visit_id, e164, self.now)
        self.pages[visit_id] = replace(page, last_sign=self.now, lost=lost)

    @rule(data=st.data())
    def a_call_comes_in(self, data: st.DataObject) -> None:
        self.tick()
        with self.database.reading() as session:
            numbers = session.scalars(select(PoolNumber.number_id).order_by(PoolNumber.number_id)).all()
        number = data.draw(st.sampled_from(numbers))
        self.calls.append((number, self.now, self.decision(number, self.now)))

    def decision(self, number_id: int, at: datetime) -> Any:
        with self.database.reading() as session:
            return decide(None, None, *weighed_candidates(session, number_id, HOLD, at))

    def kept(self) -> set[tuple[int, int]]:
        """(visit, scenario) of the numbers that visits hold: active ones all theirs, ended ones what nobody else was lent since."""
        holders = self.holders()
        return {
            (visit_id, scenario)
            for visit_id, page in self.pages.items()
            for scenario, e164 in page.shown.items()
            if scenario not in page.lost and (page.is_active(self.now) or holders[e164] == page.visitor)
        }

    def holders(self) -> dict[str, str]:
        """The visitor who gets each number back: the one it was lent to last, unless he has been told that it was lent on."""
        return {e164: row[0] for e164, row in self.rows().items()}

    def idle_numbers(self, scenario: int) -> set[str]:
        with self.database.reading() as session:
            pool = set(session.scalars(select(PoolNumber.e164).where(PoolNumber.scenario_id == scenario)))
        return pool - {
            page.shown[scenario]
            for page in self.pages.values()
            if page.is_active(self.now) and scenario in page.shown and scenario not in page.lost
        }

    @invariant()
    def no_number_is_held_by_two_visitors_unless_it_is_marked_shared(self) -> None:
        if not getattr(self, "pages", None):
            return
        marks = self.marks()
        for scenario in self.scenarios:
            holders: dict[str, list[int]] = {}
            for visit_id, page in self.pages.items():
                if page.is_active(self.now) and scenario in page.shown and scenario not in page.lost:
                    holders.setdefault(page.shown[scenario], []).append(visit_id)
            for e164, visits in holders.items():
                if len({self.pages[one].visitor for one in visits}) > 1:
                    assert all(marks[one, e164] for one in visits), (
                        f"{e164} is shared and not marked: { {one: (self.pages[one].visitor[:3], marks[one, e164]) for one in visits} }"
                    )

        if self.policy != "share":
            assert not any(marks.values()), "no lease is ever shared"

    def marks(self) -> dict[tuple[int, str], bool]:
        with self.database.reading() as session:
            rows = session.execute(
                select(Lease.visit_id, PoolNumber.e164, Lease.shared)
                .join(PoolNumber, PoolNumber.number_id == Lease.number_id)
                .order_by(Lease.id)
            )
            return {(visit_id, e164): shared for visit_id, e164, shared in rows}

    @rule()
    def calls_that_are_processed_again_are_decided_alike(self) -> None:
        for number, at, decided in self.calls:
            assert self.decision(number, at) == decided, "R7: an attribution is a pure function of the time of the call"

    def teardown(self) -> None:
        if hasattr(self, "calls"):
            self.calls_that_are_processed_again_are_decided_alike()
            with self.database.reading() as session:
                numbers = list(session.scalars(select(Visit.number).order_by(Visit.id)))
                unserved = session.execute(select(Unserved.visit_id, Unserved.scenario_id, Unserved.outcome)).all()
            assert {(visit_id, scenario) for visit_id, scenario, _ in unserved} == self.unserved
            assert {outcome for _, _, outcome in unserved} <= {self.policy}
            assert numbers == sorted(set(numbers)), "visit numbers rise"


@pytest.mark.parametrize("policy", ["share", "overflow", "keep"])
def test_r6_r7_whatever_visitors_do_their_numbers_and_calls_are_right(database: Database, policy: str) -> None:
    machine: Any = type("PoolLifeHere", (PoolLife,), {"database": database, "policy": policy})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples((40 if policy == "share" else 20) if database.is_sqlite else 6),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
            report_multiple_bugs=False,
            derandomize=True,
            database=None,
        ),
    )
