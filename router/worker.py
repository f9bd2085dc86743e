"""The background process: deliveries, and periodic jobs that keep calls and columns in order. Any number may run on PostgreSQL."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.mail import send_mails
from router.accounts.models import ServerFact, read_fact, remember_fact
from router.attribution.planner.jobs import PlanMaker
from router.attribution.pool.numbers import refresh_needed, settle_free_numbers
from router.attribution.pool.unplaced import refresh_shown
from router.attribution.upkeep.service import keep_pools
from router.carriers.accounts import check_accounts
from router.db import LONG_AGO
from router.integrations.missed.service import tell_missed
from router.integrations.queue import bring_forward
from router.integrations.settings import reseal
from router.integrations.text_messages import announce_messages
from router.integrations.worker import CLOCK_TOLERANCE, WORKER_CLOCK, DeliveryWorker
from router.reports.accuracy.jobs import learn_survival, refresh_accuracy
from router.reports.counters import ColumnKeeper
from router.reports.leaks import refresh_leaking
from router.scenarios.billing.rent import renew_due, watch_balances
from router.scenarios.flows import refresh_destination_numbers
from router.scenarios.numbers.purchase import advance_due
from router.scenarios.numbers.release import advance_releases
from router.scenarios.numbers.search import refresh_carrier_prices
from router.server import Server
from router.voice.applier import adopt_unknown_calls
from router.voice.blocking.service import guess_robocalls
from router.voice.clocks import by_database
from router.voice.events import close_silent_calls, repeat_fan_out
from router.voice.machine_jobs import lead_callers_on
from router.voice.reconciliation import reconcile_hourly
from router.voice.recording_jobs import advance_recordings, expire_recordings, look_for_recordings
from router.voice.sounds import delete_retired_sounds
from router.voice.text_messages import delete_old_messages

HEARTBEAT = "worker_seen"
TICK_SECONDS = 1.0
TIME_SLICE = timedelta(seconds=30)
"""After which other jobs of the same thread are looked at."""

log = structlog.get_logger(__name__)


@dataclass
class PeriodicJob:
    """A job that fails is tried again at its next turn."""

    name: str
    every: timedelta
    do: Callable[[Server, datetime], object]
    last: datetime = LONG_AGO


CLOCK_STEP = timedelta(seconds=2)
"""A clock that is adjusted by less keeps nothing waiting for long."""


class ClockWatch:
    """Notices that this machine's clock was set back: messages that were due would wait for as long again."""

    def __init__(self) -> None:
        self._latest, self._looked = LONG_AGO, time.monotonic()

    def look(self, server: Server, now: datetime) -> None:
        before = self._latest + timedelta(seconds=time.monotonic() - self._looked)  # what the clock would say
        if now < before - CLOCK_STEP:
            log.warning("clock_was_set_back", seconds=round((before - now).total_seconds()))
            with server.database.writing() as session:
                bring_forward(session, before, by_database(session, now))
        self._latest, self._looked = now, time.monotonic()


def quick_jobs() -> list[PeriodicJob]:
    return [
        PeriodicJob("clock_watch", timedelta(0), ClockWatch().look),
        PeriodicJob("heartbeat", timedelta(seconds=5), _heartbeat),
        PeriodicJob("repeat_fan_out", timedelta(seconds=5), repeat_fan_out),
        PeriodicJob("refresh_columns", timedelta(seconds=5), ColumnKeeper().refresh),
        PeriodicJob("refresh_accuracy", timedelta(minutes=5), refresh_accuracy),
        PeriodicJob("learn_survival", timedelta(hours=1), learn_survival),
        PeriodicJob("settle_free_numbers", timedelta(seconds=10), settle_free_numbers),
        PeriodicJob("refresh_needed", timedelta(minutes=5), refresh_needed),
        PeriodicJob("refresh_destination_numbers", timedelta(minutes=1), refresh_destination_numbers),
        PeriodicJob("refresh_leaking", timedelta(minutes=5), refresh_leaking),
        PeriodicJob("refresh_shown", timedelta(minutes=5), refresh_shown),
        PeriodicJob("adopt_unknown_calls", timedelta(seconds=5), adopt_unknown_calls),
        PeriodicJob("close_silent_calls", timedelta(minutes=1), close_silent_calls),
        PeriodicJob("tell_missed", timedelta(seconds=2), tell_missed),
        PeriodicJob("announce_messages", timedelta(seconds=2), announce_messages),
        PeriodicJob("delete_old_messages", timedelta(hours=1), delete_old_messages),
        PeriodicJob("guess_robocalls", timedelta(minutes=1), guess_robocalls),
        PeriodicJob("watch_balances", timedelta(hours=1), watch_balances),
        PeriodicJob("reseal", timedelta(hours=1), reseal),
    ]


def outside_jobs() -> list[PeriodicJob]:
    """Jobs that wait for somebody outside; they have a thread of their own, so that nothing else waits with them."""
    return [
        PeriodicJob("send_mails", timedelta(seconds=5), send_mails),
        PeriodicJob("refresh_carrier_prices", timedelta(minutes=1), refresh_carrier_prices),
    ]


def carrier_jobs() -> list[PeriodicJob]:
    """What is asked of the carrier, in a thread of its own: nobody who waits for numbers waits for e-mails."""
    return [
        PeriodicJob("advance_orders", timedelta(0), _until_none_is_due(advance_due)),
        PeriodicJob("advance_releases", timedelta(seconds=5), _until_none_is_due(advance_releases)),
        PeriodicJob("check_accounts", timedelta(seconds=2), check_accounts),
        PeriodicJob("reconcile_hourly", timedelta(minutes=5), reconcile_hourly),
    ]


def redirect_jobs() -> list[PeriodicJob]:
    """Callers listen to a machine meanwhile: they wait for nothing else."""
    return [PeriodicJob("lead_callers_on", timedelta(0), _until_none_is_due(lead_callers_on))]


def recording_jobs() -> list[PeriodicJob]:
    """Files of minutes that come from the carrier."""
    return [
        PeriodicJob("advance_recordings", timedelta(0), _until_none_is_due(advance_recordings)),
        PeriodicJob("expire_recordings", timedelta(hours=1), expire_recordings),
        PeriodicJob("delete_retired_sounds", timedelta(hours=1), delete_retired_sounds),
        PeriodicJob("look_for_recordings", timedelta(hours=1), look_for_recordings),
    ]


def renewal_jobs() -> list[PeriodicJob]:
    """Thousands of numbers may end on one day. Upkeep goes first: what it gives back is not renewed (R9)."""
    return [
        PeriodicJob("keep_pools", timedelta(minutes=1), keep_pools),
        PeriodicJob("renew_due", timedelta(minutes=1), renew_due),
    ]


def planner_jobs() -> list[PeriodicJob]:
    """What computes for seconds, in a thread of its own."""
    return [PeriodicJob("make_plans", timedelta(0), PlanMaker().make)]


class Worker:
    """Runs until SIGTERM or SIGINT, then finishes what is under way."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stop = threading.Event()

    def run(self) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda number, frame: self.stop.set())
        helpers = [
            threading.Thread(target=keep_doing, args=(self.server, jobs(), self.stop), name=jobs.__name__)
            for jobs in (
                quick_jobs,
                outside_jobs,
                carrier_jobs,
                redirect_jobs,
                recording_jobs,
                renewal_jobs,
                planner_jobs,
            )
        ]
        for helper in helpers:
            helper.start()
        log.info("worker_started")
        try:
            DeliveryWorker(self.server).run(self.stop)
        finally:
            self.stop.set()
            for helper in helpers:
                helper.join()
        log.info("worker_stopped")


def keep_doing(server: Server, jobs: Sequence[PeriodicJob], stop: threading.Event) -> None:
    """What is due of these jobs, one after the other, until `stop` is set."""
    while not stop.wait(TICK_SECONDS):
        now = server.now()
        for job in jobs:
            if timedelta(0) <= now - job.last < job.every:  # a clock that was set back holds nothing up
                continue
            job.last = now
            try:
                job.do(server, now)
            except Exception:
                log.exception("periodic_job_failed", job=job.name)


def _until_none_is_due(advance: Callable[[Server, datetime], int]) -> Callable[[Server, datetime], None]:
    """Claims and works in turns, each with the time of its own: a lease begins when its job is claimed."""

    def work(server: Server, now: datetime) -> None:
        while advance(server, server.now()) and server.now() - now < TIME_SLICE:
            pass

    return work


WORKER_SILENT = timedelta(seconds=60)


def worker_silence(session: Session, now: datetime) -> str:
    """What an operator should know of workers that are not there; empty while one is."""
    seen = read_fact(session, HEARTBEAT)
    if seen is None:
        return "never seen: start router worker"
    is_silent = by_database(session, now) - datetime.fromisoformat(seen) >= WORKER_SILENT
    return f"silent since {seen}" if is_silent else ""


def worker_clock_fault(session: Session, now: datetime) -> str:
    """Which worker's machine has a wrong clock; empty: none."""
    at = by_database(session, now)
    facts = select(ServerFact).where(
        ServerFact.name.startswith(WORKER_CLOCK, autoescape=True), ServerFact.changed_at > at - CLOCK_TOLD_WITHIN
    )
    for fact in session.scalars(facts.order_by(ServerFact.name)):
        ahead = float(fact.value)
        if abs(ahead) > CLOCK_TOLERANCE.total_seconds():
            host = fact.name.removeprefix(WORKER_CLOCK)
            differs = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'}"
            return f"the clock of {host}, where a worker is, is {differs} the database's: let NTP set both"
    return ""


CLOCK_TOLD_WITHIN = timedelta(minutes=3)
"""Workers tell once a minute."""


def _heartbeat(server: Server, now: datetime) -> None:
    with server.database.writing() as session:
        seen = by_database(session, now)
        remember_fact(session, HEARTBEAT, seen.isoformat(), seen)
