"""Jobs that are rows of a table: claimed by one process at a time, written to only while the claim holds, tried again after a pause.

A claim lends a job for the time of a lease. When a process dies, its lease ends, and another process claims the job.
A process that was only slow may go on after its lease; `Jobs.held` is the fence that keeps its result out of the row.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast

import structlog
from sqlalchemy import ColumnElement, Select, TextClause, inspect, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from router.db import Base, dialect_name, skip_locked

log = structlog.get_logger(__name__)

Job = TypeVar("Job", bound=Base)
Column = InstrumentedAttribute[Any]


@dataclass(frozen=True, slots=True)
class Claim(Generic[Job]):
    """A job lent to one process. `job` is the row as it was when it was claimed; `fence` tells this lease from every other one."""

    id: int
    job: Job
    fence: tuple[Any, ...]


class Jobs(Generic[Job]):
    """The jobs of one table.

    Args:
        unfinished: the condition of rows that somebody has to work at, now or later.
        due_at: the column with the moment from which a job may be claimed; while a process has it, that is the end of its lease.
        claimed_at: instead of `due_at`, the column with the moment at which a job was claimed last; NULL: never.
        lease: longer than one turn of work at a job may last.
        fence: the columns whose values are new with each claim, if one of them is not `due_at` or `claimed_at`.
        first: the column by which jobs are claimed, the lowest value first.
    """

    def __init__(
        self,
        table: type[Job],
        unfinished: ColumnElement[bool] | TextClause,
        lease: timedelta,
        *,
        due_at: Column | None = None,
        claimed_at: Column | None = None,
        fence: Sequence[Column] = (),
        first: Column | None = None,
    ) -> None:
        self.table = table
        self.unfinished = unfinished
        self.lease = lease
        self.key: ColumnElement[int] = inspect(table).primary_key[0]
        self._due_at = due_at
        self._moment = cast(Column, due_at if due_at is not None else claimed_at)
        self._fence = tuple(fence) or (self._moment,)
        self._first = first if first is not None else self._moment

    def due(self, now: datetime) -> ColumnElement[bool]:
        """The condition of jobs that nobody holds at `now`, and that need not wait."""
        if self._due_at is None:
            return self._moment.is_(None) | (self._moment <= now - self.lease)
        return self._moment <= now

    def due_ids(self, session: Session, now: datetime, limit: int) -> Sequence[int]:
        """The jobs that may be claimed, those that wait the longest first; nothing is locked."""
        return session.scalars(self._due(now, limit)).all()

    def claim(self, session: Session, job_id: int, now: datetime, **values: Any) -> Claim[Job] | None:
        """Lends the job from `now` on, and sets `values`; None when it is finished, or not due, or somebody else was faster."""
        lent = (
            update(self.table)
            .where(self.key == job_id, self.unfinished, self.due(now))
            .values({self._moment.key: self._mark(now)} | values)
            .returning(self.table)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        job = session.scalars(lent).one_or_none()
        return self.claim_of(job) if job is not None else None

    def claim_due(self, session: Session, now: datetime, limit: int) -> list[Claim[Job]]:
        """Lends the jobs that wait the longest, without those that somebody else is claiming or changing in this moment."""
        ids = session.scalars(skip_locked(self._due(now, limit), dialect_name(session))).all()
        return [claim for job_id in ids if (claim := self.claim(session, job_id, now))]

    def held(self, session: Session, claim: Claim[Job]) -> Job | None:
        """The job, locked, as long as this claim's lease was given to nobody else and the job is unfinished; else None (the fence)."""
        unchanged = [column == value for column, value in zip(self._fence, claim.fence, strict=True)]
        return session.scalar(
            select(self.table)
            .where(self.key == claim.id, self.unfinished, *unchanged)
            .with_for_update()
            .execution_options(populate_existing=True)
        )

    def renew(self, job: Job, now: datetime) -> Claim[Job]:
        """A new lease, from `now` on, of a job that is held."""
        setattr(job, self._moment.key, self._mark(now))
        return self.claim_of(job)

    def claim_of(self, job: Job) -> Claim[Job]:
        """The claim of the process that has just lent the job to itself, or written it so."""
        (job_id,) = inspect(job).identity or (None,)
        return Claim(cast(int, job_id), job, tuple(getattr(job, column.key) for column in self._fence))

    def _due(self, now: datetime, limit: int) -> Select[int]:
        return select(self.key).where(self.unfinished, self.due(now)).order_by(self._first, self.key).limit(limit)

    def _mark(self, now: datetime) -> datetime:
        return now if self._due_at is None else now + self.lease


def work_side_by_side(claims: Sequence[Claim[Job]], work: Callable[[Claim[Job]], None], name: str) -> None:
    """Works at all claims, each in a thread. A job that fails stops no other job, and is due again when its lease ends."""

    def attempt(claim: Claim[Job]) -> None:
        try:
            work(claim)
        except Exception:
            log.exception("job_failed", job=name, id=claim.id)

    if claims:
        with ThreadPoolExecutor(len(claims), name) as pool:
            list(pool.map(attempt, claims))


def backoff(attempt: int, first: timedelta, longest: timedelta) -> timedelta:
    """The pause after the attempt of this number: `first` after attempt 1, twice as long after each later one, up to `longest`."""
    doubled: timedelta = first * 2 ** min(max(attempt - 1, 0), 20)
    return min(doubled, longest)


def backoff_by_age(age: timedelta, first: timedelta, longest: timedelta) -> timedelta:
    """The pause of a job whose attempts are not counted: half of how long it has been tried, from `first` up to `longest`."""
    return min(max(age / 2, first), longest)


def requested_pause(retry_after: float | None, longest: timedelta) -> timedelta:
    """The pause that the other side asked for, in seconds (Retry-After), as far as that is reasonable."""
    return timedelta(seconds=min(max(retry_after or 0.0, 0.0), longest.total_seconds()))
