"""The worker keeps the figures of each day (R8): what may have changed is noted first, then its days are counted again, whole.

A note and the mark that it is taken are one transaction, and the days are counted after it; so nothing is lost when a worker dies or two
of them count at once, and a day that is counted again is exact whatever came late."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, String, cast, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import (
    CHANGED,
    COUNTED,
    NOT_COUNTED,
    UNCOUNTED_VISITS,
    AccuracyDay,
    AccuracyDue,
    Visit,
)
from router.lib.dates import day_of, last_days, span_of
from router.reports.accuracy.figures import DAYS, Figures, added, count_day, figures_of
from router.scenarios.models import Scenario
from router.server import Server
from router.voice.models import UNCOUNTED_CALLS, Call

AT_ONCE = 500
"""Rows of one transaction."""
SLACK = timedelta(minutes=1)
"""Clocks of other machines may differ by so much: until then a visit whose hold is over may still come to be shared."""
QUARTER = 900
"""Seconds. Days begin at a quarter of an hour everywhere, so what falls into one quarter belongs to one day in every time zone."""
RECOUNTED = timedelta(days=60)
"""Older days stay as they were counted when a time zone or a hold is changed."""


@dataclass(frozen=True)
class Counting:
    """What a project counts by: its time zone, and the hold of each scenario."""

    zone: str
    holds: dict[int, timedelta]

    @property
    def shortest(self) -> timedelta:
        return min(self.holds.values())

    @property
    def longest(self) -> timedelta:
        return max(self.holds.values())

    def counted_by(self, scenario_id: int) -> str:
        return f"{self.zone} {int(self.holds[scenario_id].total_seconds())}"


class Overtaken(Exception):
    """Another worker counted the day at the same time."""


def refresh_accuracy(server: Server, now: datetime) -> None:
    """Brings the days and the scenarios' columns up to date; reads what may have changed since the last turn, and the days of it."""
    with server.database.reading() as session:
        projects = _countings(session)
    _note_visits(server, projects, now)
    _note_calls(server)
    _note_other_rules(server, projects, now)
    for (project_id, day), notes in _noted(server, projects).items():
        _count(server, projects[project_id], project_id, day, notes, now)
    _fill_scenarios(server, projects, now)


def _countings(session: Session) -> dict[int, Counting]:
    """By project; deleted scenarios keep their days."""
    wanted = select(Scenario.project_id, Scenario.id, Scenario.hold_seconds, Project.timezone)
    found: dict[int, Counting] = {}
    for project_id, scenario_id, hold, zone in session.execute(
        wanted.join(Project, Project.id == Scenario.project_id).order_by(Scenario.id)
    ):
        found.setdefault(project_id, Counting(zone, {})).holds[scenario_id] = timedelta(seconds=hold)
    return found


def _note_visits(server: Server, projects: dict[int, Counting], now: datetime) -> None:
    """Visits whose hold may have ended, and counted ones that came back to life."""
    shortest = min((one.shortest for one in projects.values()), default=timedelta(0))
    wanted = select(Visit.id, Visit.project_id, Visit.started_at, Visit.last_sign_at, Visit.counted).where(
        UNCOUNTED_VISITS, or_(Visit.counted == CHANGED, Visit.last_sign_at < now - shortest)
    )
    last = 0
    while rows := _some(server, wanted.where(Visit.id > last).order_by(Visit.id)):
        last = rows[-1].id
        _note_some_visits(server, rows, projects, now)


def _note_some_visits(server: Server, rows: Sequence[Row[Any]], projects: dict[int, Counting], now: datetime) -> None:
    marks: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        marks[_mark(row, projects.get(row.project_id), now)].append(row)
    with server.database.writing() as session:
        for mark, marked in marks.items():
            same = Visit.id.in_([row.id for row in marked])
            unseen = Visit.last_sign_at <= max(row.last_sign_at for row in marked)
            _set_counted(session, mark, same & unseen if mark == COUNTED else same)
        _note(session, ((row.project_id, row.started_at) for row in rows if row.project_id in projects))


def _mark(row: Row[Any], counting: Counting | None, now: datetime) -> int:
    """What a visit is from now on; one that is over but not for long is looked at again in the next turn."""
    silent = now - row.last_sign_at
    if counting is None or silent > counting.longest + SLACK:
        return COUNTED
    return CHANGED if silent > counting.shortest else NOT_COUNTED


def _set_counted(session: Session, mark: int, which: Any) -> None:
    session.execute(update(Visit).where(which).values(counted=mark), execution_options={"synchronize_session": False})


def _note_calls(server: Server) -> None:
    """New calls, those that became known late, and those that were decided again."""
    wanted = select(Call.id, Call.project_id, Call.started_at).where(UNCOUNTED_CALLS)
    last = 0
    while rows := _some(server, wanted.where(Call.id > last).order_by(Call.id)):
        last = rows[-1].id
        with server.database.writing() as session:
            same = update(Call).where(Call.id.in_([row.id for row in rows])).values(counted=True)
            session.execute(same, execution_options={"synchronize_session": False})
            _note(session, ((row.project_id, row.started_at) for row in rows))


def _some(server: Server, wanted: Any) -> Sequence[Row[Any]]:
    with server.database.reading() as session:
        return session.execute(wanted.limit(AT_ONCE)).all()


def _note_other_rules(server: Server, projects: dict[int, Counting], now: datetime) -> None:
    """Days that were counted in another time zone or with another hold."""
    rules = Project.timezone + " " + cast(Scenario.hold_seconds, String)
    wanted = (
        select(Scenario.project_id, AccuracyDay.scenario_id, AccuracyDay.day, AccuracyDay.counted_by)
        .join(Scenario, Scenario.id == AccuracyDay.scenario_id)
        .join(Project, Project.id == Scenario.project_id)
        .where(AccuracyDay.counted_by != rules, AccuracyDay.day >= (now - RECOUNTED).date().isoformat())
    )
    with server.database.reading() as session:
        others = session.execute(wanted).all()
    for first in range(0, len(others), AT_ONCE):
        with server.database.writing() as session:
            for row in others[first : first + AT_ONCE]:
                _note_day(session, row, projects[row.project_id], now)


def _note_day(session: Session, row: Row[int, int, str, str], counting: Counting, now: datetime) -> None:
    begin, end = span_of(row.day, row.counted_by.rpartition(" ")[0])
    same = (AccuracyDay.scenario_id == row.scenario_id) & (AccuracyDay.day == row.day)
    session.execute(update(AccuracyDay).where(same).values(counted_by=counting.counted_by(row.scenario_id)))
    holding = Visit.last_sign_at >= now - counting.longest - SLACK
    day = (Visit.project_id == row.project_id) & (Visit.started_at >= begin) & (Visit.started_at < end)
    _set_counted(session, CHANGED, day & holding & (Visit.counted == COUNTED))
    _note(session, [(row.project_id, begin), (row.project_id, end - timedelta(seconds=QUARTER))])


def _note(session: Session, moments: Iterable[tuple[int, datetime]]) -> None:
    quarters = {(project_id, at - timedelta(seconds=at.timestamp() % QUARTER)) for project_id, at in moments}
    if quarters:
        session.execute(insert(AccuracyDue), [{"project_id": one, "at": at} for one, at in sorted(quarters)])


def _noted(server: Server, projects: dict[int, Counting]) -> dict[tuple[int, str], list[int]]:
    """The days to count, with their notes; those of projects without a scenario are left."""
    found: dict[tuple[int, str], list[int]] = defaultdict(list)
    with server.database.reading() as session:
        for note_id, project_id, at in session.execute(select(AccuracyDue.id, AccuracyDue.project_id, AccuracyDue.at)):
            if project_id in projects:
                found[project_id, day_of(at, projects[project_id].zone)].append(note_id)
    return found


def _count(server: Server, counting: Counting, project_id: int, day: str, notes: Sequence[int], now: datetime) -> None:
    with server.database.reading() as session:
        figures = count_day(session, project_id, counting.holds, span_of(day, counting.zone), now)
    try:
        with server.database.writing() as session:
            _write(session, counting, day, figures, notes)
    except Overtaken:
        return


def _write(session: Session, counting: Counting, day: str, figures: dict[int, Figures], notes: Sequence[int]) -> None:
    """
    Raises:
        Overtaken: somebody else took one of the notes; he has counted what it said, and what is left is counted in the next turn.
    """
    taken = delete(AccuracyDue).where(AccuracyDue.id.in_(notes)).returning(AccuracyDue.id)
    if len(session.scalars(taken).all()) < len(notes):
        raise Overtaken
    session.execute(
        delete(AccuracyDay).where(AccuracyDay.day == day, AccuracyDay.scenario_id.in_(sorted(counting.holds)))
    )
    for scenario_id, found in sorted(figures.items()):
        values = {name: getattr(found, name) for name in found.__slots__}
        by = counting.counted_by(scenario_id)
        session.add(AccuracyDay(scenario_id=scenario_id, day=day, counted_by=by, **values))


def _fill_scenarios(server: Server, projects: dict[int, Counting], now: datetime) -> None:
    """What the last days say, in the columns that the table and upkeep read."""
    values: dict[int, dict[str, Any]] = {}
    with server.database.reading() as session:
        alive = select(Scenario.id, Scenario.aim, Scenario.accuracy, Scenario.confidence)
        scenarios = session.execute(alive.where(Scenario.deleted_at.is_(None))).all()
        days = _last_days(session, projects, now)
    for one in scenarios:
        whole = added(days.get(one.id, ()))
        accuracy, confidence = whole.accuracy(one.aim), whole.confidence
        confidence = None if confidence is None else round(confidence, 4)
        if (accuracy, confidence) != (one.accuracy, one.confidence):
            values[one.id] = {"accuracy": accuracy, "confidence": confidence}
    ids = sorted(values)
    for first in range(0, len(ids), AT_ONCE):
        with server.database.writing() as session:
            for scenario_id in ids[first : first + AT_ONCE]:
                session.execute(update(Scenario).where(Scenario.id == scenario_id).values(values[scenario_id]))


def _last_days(session: Session, projects: dict[int, Counting], now: datetime) -> dict[int, list[Figures]]:
    by_zone: dict[str, list[int]] = defaultdict(list)
    for counting in projects.values():
        by_zone[counting.zone] += counting.holds
    found: dict[int, list[Figures]] = defaultdict(list)
    for zone, scenarios in by_zone.items():
        since = last_days(now, zone, DAYS)[0]
        rows = select(AccuracyDay).where(AccuracyDay.scenario_id.in_(scenarios), AccuracyDay.day >= since)
        for row in session.scalars(rows):
            found[row.scenario_id].append(figures_of(row))
    return found
