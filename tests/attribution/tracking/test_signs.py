"""R7: signs of life are facts. What they say of a past moment does not depend on when and in which order they were written."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.models import Visit, VisitSpan
from router.attribution.tracking.schema import read_page_view
from router.attribution.tracking.sources import DIRECT, Evidence
from router.attribution.tracking.visits import (
    LEFT_GRACE,
    OPEN_GAP,
    KnownVisit,
    Presence,
    find_visit,
    insert_visit,
    new_visit,
    record_presence,
)
from router.db import Base, Database
from tests.counting import count_statements
from tests.factories import NOON, make_project
from tests.properties import examples

SECONDS = st.one_of(st.integers(0, 400), st.sampled_from([10, 11, 75, 76, 85, 86, 150, 151, 160, 161]))
SIGNS = st.lists(st.tuples(SECONDS, st.booleans()), max_size=12)
GRACE = LEFT_GRACE.total_seconds()


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def begun(database: Database) -> KnownVisit:
    with database.writing() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
        project = make_project(session, key=f"k-{id(session)}")
        view = read_page_view({"page": "https://shop.example/"})
        direct = Evidence(DIRECT, {}, False)
        return insert_visit(session, new_visit(project.id, "somebody", view, direct, NOON))


def again(session: Session, visit: KnownVisit) -> KnownVisit:
    project = session.scalars(select(Visit.project_id).where(Visit.id == visit.id)).one()
    found = find_visit(session, project, visit.id)
    assert found
    return found


def facts(database: Database, visit: KnownVisit) -> list[Presence]:
    with database.reading() as session:
        earlier = session.scalars(
            select(VisitSpan).where(VisitSpan.visit_id == visit.id).order_by(VisitSpan.started_at)
        )
        spans = [Presence(one.started_at, one.last_at, one.left) for one in earlier]
        now = again(session, visit)
    return [*spans, Presence(now.span_started_at, now.last_sign_at, now.left)]


def model(signs: Iterable[tuple[float, bool]]) -> list[Presence]:
    """What the spans have to be: the signs in the order of their times, the one that left last among equals."""
    spans = [Presence(NOON, NOON, False)]
    for seconds, left in sorted(signs):
        last = spans[-1]
        if at(seconds) - last.last_at <= (LEFT_GRACE if last.left else OPEN_GAP):
            spans[-1] = Presence(last.started_at, at(seconds), left)
        else:
            spans.append(Presence(at(seconds), at(seconds), left))
    return spans


def in_time(signs: Sequence[tuple[float, bool]]) -> list[tuple[float, bool]]:
    """Without those that say *left* later than the grace after they were true: these are lost."""
    newest, kept = 0.0, []
    for seconds, left in signs:
        newest = max(newest, seconds)
        if not left or newest - seconds <= GRACE:
            kept.append((seconds, left))
    return kept


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(signs=SIGNS, repeated=st.data())
def test_r7_signs_in_any_order_and_any_number_of_times_leave_the_same_spans(
    database: Database, signs: list[tuple[float, bool]], repeated: st.DataObject
) -> None:
    doubled = signs + repeated.draw(st.lists(st.sampled_from(signs), max_size=4) if signs else st.just([]))
    order = in_time(repeated.draw(st.permutations(doubled)))
    visit = begun(database)
    for seconds, left in order:
        with database.writing() as session:
            record_presence(session, again(session, visit), at(seconds), left=left)
    assert facts(database, visit) == model(set(order))


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(signs=SIGNS, data=st.data())
def test_r7_processes_that_read_the_visit_before_others_wrote_lose_nothing(
    database: Database, signs: list[tuple[float, bool]], data: st.DataObject
) -> None:
    visit = begun(database)
    seen = [visit]
    for seconds, left in sorted(signs):
        stale = data.draw(st.sampled_from(seen))
        with database.writing() as session:
            record_presence(session, stale, at(seconds), left=left)
            seen.append(again(session, visit))
    assert facts(database, visit) == model(set(signs))


@settings(max_examples=examples(60))
@given(signs=SIGNS, moment=SECONDS)
def test_r7_what_was_open_at_a_moment_is_the_same_live_and_an_hour_later(
    signs: list[tuple[float, bool]], moment: int
) -> None:
    def is_open(spans: list[Presence]) -> bool:
        return [one for one in spans if one.started_at <= at(moment)][-1].reaches(at(moment))

    assert is_open(model(one for one in signs if one[0] <= moment)) == is_open(model(signs))


def test_r7_parallel_processes_lose_no_sign_of_a_visit(database: Database) -> None:
    visit, random = begun(database), Random(7)
    times = [random.randrange(0, 1500) for _ in range(48)]

    def says(seconds: int) -> None:
        with database.writing() as session:
            record_presence(session, again(session, visit), at(seconds))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(says, times))
    assert facts(database, visit) == model({(seconds, False) for seconds in times})


def test_r7_a_page_that_was_left_is_open_for_ten_seconds_more(database: Database) -> None:
    visit = begun(database)

    def after(*signs: tuple[float, bool]) -> list[Presence]:
        for seconds, left in signs:
            with database.writing() as session:
                record_presence(session, again(session, visit), at(seconds), left=left)
        return facts(database, visit)

    assert after((30, True)) == [Presence(NOON, at(30), True)]
    assert after((40, False)) == [Presence(NOON, at(40), False)]
    assert after((50, True), (60.5, False)) == [Presence(NOON, at(50), True), Presence(at(60.5), at(60.5), False)]
    assert [one.reaches(at(60)) for one in after()] == [True, True]
    assert [one.reaches(at(61)) for one in after()] == [False, True]


def test_r7_a_sign_of_life_is_one_statement_and_the_first_of_a_span_two(database: Database) -> None:
    visit = begun(database)
    for seconds, count in ((45, 1), (90, 1), (300, 2)):
        with database.writing() as session:
            known = again(session, visit)
            with count_statements(database) as heard:
                record_presence(session, known, at(seconds))
        assert len(heard) == count, heard
