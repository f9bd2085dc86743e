"""The worker learns how long after their visit callers still call (R6), and keeps the figures of each day (R8): what may have changed is
noted first, then its days are counted again, whole.

A note and the mark that it is taken are one transaction, and the days are counted after it; so nothing is lost when a worker dies or two
workers count at once, and a day that is counted again is exact whatever came late."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, String, cast, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import CHANGED, COUNTED, NOT_COUNTED, UNCOUNTED_VISITS, AccuracyDay, AccuracyDue, Visit
from router.attribution.pool.choice import CALLS_NEEDED, learn
from router.lib.formats import day_of, last_days, span_of
from router.reports.accuracy.figures import DAYS, Figures, added, count_day, figures_of, known_silences
from router.reports.counters import write_columns
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


def refresh_accuracy(server: Server, now: datetime) -> None:
    """Brings the days and the scenarios' columns up to date; reads what may have changed since the last turn, and the days of it."""
    with server.database.reading() as session:
        projects = read_countings(session)
    _note_visits(server, projects, now)
    _note_calls(server)
    _note_other_rules(server, projects, now)
    for (project_id, day), notes in noted_days(server, projects).items():
        count_noted_day(server, projects[project_id], project_id, day, notes, now)
    # the accuracy and the confidence of the last days, in the columns that the table and upkeep read
    by_zone: dict[str, list[int]] = defaultdict(list)
    for counting in projects.values():
        by_zone[counting.zone] += counting.holds
    days: dict[int, list[Figures]] = defaultdict(list)
    values: dict[int, dict[str, Any]] = {}
    with server.database.reading() as session:
        present = select(Scenario.id, Scenario.aim, Scenario.accuracy, Scenario.confidence)
        scenarios = session.execute(present.where(Scenario.deleted_at.is_(None))).all()
        for zone, ids in by_zone.items():
            since = last_days(now, zone, DAYS)[0]
            rows = select(AccuracyDay).where(AccuracyDay.scenario_id.in_(ids), AccuracyDay.day >= since)
            for row in session.scalars(rows):
                days[row.scenario_id].append(figures_of(row))
    for scenario in scenarios:
        week = added(days.get(scenario.id, ()))
        accuracy, confidence = week.accuracy(scenario.aim), week.confidence
        confidence = None if confidence is None else round(confidence, 4)
        if (accuracy, confidence) != (scenario.accuracy, scenario.confidence):
            values[scenario.id] = {"accuracy": accuracy, "confidence": confidence}
    write_columns(server, Scenario, values.items())


def read_countings(session: Session) -> dict[int, Counting]:
    """By project; deleted scenarios keep their days."""
    statement = (
        select(Scenario.project_id, Scenario.id, Scenario.hold_seconds, Project.timezone)
        .join(Project, Project.id == Scenario.project_id)
        .order_by(Scenario.id)
    )
    countings: dict[int, Counting] = {}
    for row in session.execute(statement):
        counting = countings.setdefault(row.project_id, Counting(row.timezone, {}))
        counting.holds[row.id] = timedelta(seconds=row.hold_seconds)
    return countings


def _note_visits(server: Server, projects: dict[int, Counting], now: datetime) -> None:
    """Visits whose hold may have ended, and counted ones that came back to life."""
    shortest = min((counting.shortest for counting in projects.values()), default=timedelta(0))
    statement = select(Visit.id, Visit.project_id, Visit.started_at, Visit.last_sign_at, Visit.counted).where(
        UNCOUNTED_VISITS, or_(Visit.counted == CHANGED, Visit.last_sign_at < now - shortest)
    )
    last = 0
    while rows := _portion(server, statement.where(Visit.id > last).order_by(Visit.id)):
        last = rows[-1].id
        by_mark: dict[int, list[Row[Any]]] = defaultdict(list)
        for row in rows:
            counting, silent = projects.get(row.project_id), now - row.last_sign_at
            if counting is None or silent > counting.longest + SLACK:
                by_mark[COUNTED].append(row)
            else:  # a visit that is over but not for long is looked at again in the next turn
                by_mark[CHANGED if silent > counting.shortest else NOT_COUNTED].append(row)
        with server.database.writing() as session:
            for mark, marked in by_mark.items():
                same = Visit.id.in_([row.id for row in marked])
                unseen = Visit.last_sign_at <= max(row.last_sign_at for row in marked)
                _set_counted(session, mark, same & unseen if mark == COUNTED else same)
            _note(session, ((row.project_id, row.started_at) for row in rows if row.project_id in projects))


def _set_counted(session: Session, mark: int, which: Any) -> None:
    session.execute(update(Visit).where(which).values(counted=mark), execution_options={"synchronize_session": False})


def _note_calls(server: Server) -> None:
    """New calls, calls that became known late, and calls that were decided again."""
    statement = select(Call.id, Call.project_id, Call.started_at).where(UNCOUNTED_CALLS)
    last = 0
    while rows := _portion(server, statement.where(Call.id > last).order_by(Call.id)):
        last = rows[-1].id
        with server.database.writing() as session:
            same = update(Call).where(Call.id.in_([row.id for row in rows])).values(counted=True)
            session.execute(same, execution_options={"synchronize_session": False})
            _note(session, ((row.project_id, row.started_at) for row in rows))


def _portion(server: Server, statement: Any) -> Sequence[Row[Any]]:
    with server.database.reading() as session:
        return session.execute(statement.limit(AT_ONCE)).all()


def _note_other_rules(server: Server, projects: dict[int, Counting], now: datetime) -> None:
    """Days that were counted in another time zone or with another hold."""
    rules = Project.timezone + " " + cast(Scenario.hold_seconds, String)
    statement = (
        select(Scenario.project_id, AccuracyDay.scenario_id, AccuracyDay.day, AccuracyDay.counted_by)
        .join(Scenario, Scenario.id == AccuracyDay.scenario_id)
        .join(Project, Project.id == Scenario.project_id)
        .where(AccuracyDay.counted_by != rules, AccuracyDay.day >= (now - RECOUNTED).date().isoformat())
    )
    with server.database.reading() as session:
        others = session.execute(statement).all()
    for first in range(0, len(others), AT_ONCE):
        with server.database.writing() as session:
            for row in others[first : first + AT_ONCE]:
                counting = projects[row.project_id]
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
        rows = [{"project_id": project_id, "at": at} for project_id, at in sorted(quarters)]
        session.execute(insert(AccuracyDue), rows)


def noted_days(server: Server, projects: dict[int, Counting]) -> dict[tuple[int, str], list[int]]:
    """The days to count, with their notes; the notes of projects without a scenario are left."""
    days: dict[tuple[int, str], list[int]] = defaultdict(list)
    with server.database.reading() as session:
        for note in session.execute(select(AccuracyDue.id, AccuracyDue.project_id, AccuracyDue.at)):
            if note.project_id in projects:
                day = day_of(note.at, projects[note.project_id].zone)
                days[note.project_id, day].append(note.id)
    return days


def count_noted_day(
    server: Server, counting: Counting, project_id: int, day: str, notes: Sequence[int], now: datetime
) -> None:
    """Counts a day anew and takes its notes. When another worker took a note, that worker has counted the day, and the notes that are left
    wait for the next turn."""
    with server.database.reading() as session:
        figures = count_day(session, project_id, counting.holds, span_of(day, counting.zone), now)
    with server.database.writing() as session:
        taken = delete(AccuracyDue).where(AccuracyDue.id.in_(notes)).returning(AccuracyDue.id)
        if len(session.scalars(taken).all()) < len(notes):
            session.rollback()
            return
        of_day = (AccuracyDay.day == day, AccuracyDay.scenario_id.in_(sorted(counting.holds)))
        session.execute(delete(AccuracyDay).where(*of_day))
        for scenario_id, its_figures in sorted(figures.items()):
            by = counting.counted_by(scenario_id)
            session.add(AccuracyDay(scenario_id=scenario_id, day=day, counted_by=by, **asdict(its_figures)))


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
            silences = session.scalars(known_silences(scenario.id)).all()
            survival = learn(silences) if len(silences) >= CALLS_NEEDED else None
            if survival != scenario.survival:
                learned[scenario.id] = {"survival": survival}
    write_columns(server, Scenario, learned.items())
