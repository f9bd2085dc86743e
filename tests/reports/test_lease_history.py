"""Who held the number of a call, as its page draws it (R6)."""

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from router.attribution.models import Lease, Tap, Visit, VisitSpan
from router.db import Database
from router.reports.lease_history import History, Holder, active_times, over_at, read_history
from router.voice.models import Call
from tests.busy_project import NUMBERS
from tests.factories import lease_decision, make_call, make_visit
from tests.people import NOW, Cast

HOLD = timedelta(seconds=150)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def visit(number: int, visitor: str = "") -> Visit:
    return Visit(id=number, number=number, visitor=visitor or f"v{number}", source="google", medium="cpc", campaign="")


def span(start: datetime, last: datetime) -> VisitSpan:
    return VisitSpan(started_at=start, last_at=last, left=False)


moments = st.floats(0, 600).map(at)
spans = st.lists(st.tuples(moments, st.floats(0, 40)), min_size=1, max_size=8).map(
    lambda drawn: [span(start, start + timedelta(minutes=minutes)) for start, minutes in sorted(drawn)]
)


@given(spans, moments)
def test_r6_a_lease_ends_when_another_is_lent_the_number_unless_it_is_shared(
    drawn: list[VisitSpan], again: datetime
) -> None:
    end = over_at(drawn[0].started_at, drawn, again, HOLD)
    active = any(start <= again <= last for start, last in active_times(drawn, HOLD))
    assert end is not None
    assert end >= again
    assert active or end == again
    assert over_at(drawn[0].started_at, drawn, None, HOLD) is None


@given(spans)
def test_r6_active_times_are_apart_and_in_order(drawn: list[VisitSpan]) -> None:
    times = list(active_times(drawn, HOLD))
    assert all(end < start for (_, end), (start, _) in pairwise(times))
    assert all(any(start <= span.started_at <= end for start, end in times) for span in drawn)


@given(st.lists(st.tuples(spans, st.booleans(), st.lists(moments, max_size=3)), max_size=5), moments)
def test_nothing_is_drawn_outside_the_picture(
    drawn: list[tuple[list[VisitSpan], bool, list[datetime]]], called: datetime
) -> None:
    holders = [
        Holder(visit(index), some[0].started_at, None, shared, some, taps)
        for index, (some, shared, taps) in enumerate(drawn)
    ]
    history = History(called, called - HOLD, called + HOLD, HOLD, "Europe/Berlin", holders)
    assert bool(history.holders) == bool(drawn)
    for holder in history.holders:
        pieces = history.pieces(holder)
        assert all(0 <= piece.x <= 100 and 0 <= piece.x + piece.width <= 100.01 for piece in pieces)
        assert "None" not in history.describe(holder)


def test_r6_times_of_another_day_than_the_calls_are_told_with_it() -> None:
    """What ended the evening before a call in the morning is not later than it."""
    evening = span(at(-16 * 60), at(-16 * 60 + 4))
    holders = [Holder(visit(1), evening.started_at, at(-5), False, [evening], [])]
    history = History(NOW, at(-30), at(5), HOLD, "UTC", holders)
    assert history.describe(holders[0]) == "open 22 Nov 20:00:00 to 22 Nov 20:04:00; given to somebody else 11:55:00"
    assert (history.clock(history.at), history.clock(history.since, "%H:%M")) == ("12:00:00", "11:30")


def test_r6_the_history_of_a_call_is_that_of_its_number_around_it(
    database: Database, cast: Cast, life: dict[str, int]
) -> None:
    with database.reading() as session:
        history = read_history(session, session.get_one(Call, life["call_id"]), HOLD, "UTC")
    assert [holder.visit.number for holder in history.holders] == [10004, 10003, 10002, 10001]
    last, before = history.holders[-1], history.holders[-2]
    assert (before.over_at, last.over_at) == (last.lent_at, None)
    assert before.spans[-1].left
    assert len(last.taps) == 1
    assert history.since <= before.lent_at < history.at < history.until


def test_r6_a_number_that_was_never_shown_is_in_the_history_only_if_it_was_a_candidate(
    database: Database, cast: Cast, life: dict[str, int]
) -> None:
    with database.writing() as session:
        call = session.get_one(Call, life["call_id"])
        leases = session.scalars(select(Lease).order_by(Lease.turn.desc())).all()
        leases[0].returned_at = call.started_at + timedelta(seconds=9)
        leases[1].returned_at = call.started_at
        history = read_history(session, call, HOLD, "UTC")
        assert [holder.visit.number for holder in history.holders] == [10004, 10003, 10001]
        before, candidate = history.holders[-2:]
        assert (before.over_at, candidate.over_at) == (None, leases[0].returned_at), "nobody has it after the third"
        assert history.describe(candidate).endswith("not on its page, as it said 11:58:09")


def test_r6_what_happened_near_the_call_is_shown_however_much_there_was_before_and_after(
    database: Database, cast: Cast, life: dict[str, int]
) -> None:
    with database.writing() as session:
        call = session.get_one(Call, life["call_id"])
        [visit_id] = session.scalars(select(Visit.id).where(Visit.number == 10004)).all()
        number_id = life["number_id"]
        moments = [call.started_at + timedelta(minutes=step) for step in (*range(-900, -300), -5, 1, *range(150, 750))]
        spans = [{"visit_id": visit_id, "started_at": one, "last_at": one, "left": False} for one in moments]
        session.execute(insert(VisitSpan), spans)
        session.execute(insert(Tap), [{"visit_id": visit_id, "number_id": number_id, "at": one} for one in moments])
        visit = session.get_one(Visit, visit_id)
        visit.span_started_at = visit.last_sign_at = moments[-1] + timedelta(days=1)
        held = read_history(session, call, HOLD, "UTC").holders[0]
    assert held.visit.number == 10004
    starts = [span.started_at for span in held.spans]
    assert starts == sorted(starts)
    assert starts[-1] == visit.span_started_at
    assert starts[-4:-1] == held.taps[-3:] == [call.started_at + timedelta(minutes=step) for step in (-301, -5, 1)]


def test_a_number_that_nobody_was_lent_has_no_history(database: Database, cast: Cast) -> None:
    with database.writing() as session:
        lonely = make_call(
            session, cast.project, NUMBERS[0], NOW, **lease_decision(make_visit(session, cast.project, 1, NOW))
        )
        assert read_history(session, lonely, HOLD, "UTC").holders == []
