"""The background process: deliveries, and the chores that keep calls and columns in order. Any number of them may run on PostgreSQL."""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import FrameType

import structlog

from router.accounts.mail import send_mails
from router.accounts.models import remember_fact
from router.attribution.planner.jobs import PlanMaker
from router.attribution.pool.membership import settle_free_numbers
from router.attribution.pool.sizing import refresh_needed
from router.attribution.pool.unplaced import refresh_shown
from router.attribution.upkeep.run import keep_pools
from router.db import LONG_AGO
from router.integrations.settings import reseal
from router.integrations.worker import DeliveryWorker
from router.reports.accuracy.jobs import refresh_accuracy
from router.reports.accuracy.learning import learn_survival
from router.reports.counters import ColumnKeeper
from router.reports.leaks import refresh_leaking
from router.scenarios.billing.notices import watch_balances
from router.scenarios.billing.rent import renew_due
from router.scenarios.flows import refresh_destination_numbers
from router.scenarios.numbers.purchase import advance_due
from router.scenarios.numbers.release import advance_releases
from router.scenarios.numbers.search import refresh_carrier_prices
from router.server import Server
from router.voice.events import close_silent_calls, repeat_fan_out

HEARTBEAT = "worker_seen"
TICK_SECONDS = 1.0
TURN = timedelta(seconds=30)
"""After which other chores of the same thread are looked at."""

log = structlog.get_logger(__name__)


@dataclass
class Chore:
    """Something to do every so often; one that fails is tried again at its next turn."""

    name: str
    every: timedelta
    do: Callable[[Server, datetime], object]
    last: datetime = LONG_AGO


def chores() -> list[Chore]:
    return [
        Chore("heartbeat", timedelta(seconds=5), _heartbeat),
        Chore("repeat_fan_out", timedelta(seconds=5), repeat_fan_out),
        Chore("refresh_columns", timedelta(seconds=5), ColumnKeeper().refresh),
        Chore("refresh_accuracy", timedelta(minutes=5), refresh_accuracy),
        Chore("learn_survival", timedelta(hours=1), learn_survival),
        Chore("settle_free_numbers", timedelta(seconds=10), settle_free_numbers),
        Chore("refresh_needed", timedelta(minutes=5), refresh_needed),
        Chore("refresh_destination_numbers", timedelta(minutes=1), refresh_destination_numbers),
        Chore("refresh_leaking", timedelta(minutes=5), refresh_leaking),
        Chore("refresh_shown", timedelta(minutes=5), refresh_shown),
        Chore("close_silent_calls", timedelta(minutes=1), close_silent_calls),
        Chore("watch_balances", timedelta(hours=1), watch_balances),
        Chore("reseal", timedelta(hours=1), reseal),
    ]


def errands() -> list[Chore]:
    """Chores that wait for somebody outside; they have a thread of their own, so that nothing else waits with them."""
    return [
        Chore("send_mails", timedelta(seconds=5), send_mails),
        Chore("refresh_carrier_prices", timedelta(minutes=1), refresh_carrier_prices),
    ]


def purchases() -> list[Chore]:
    """What is asked of the carrier, in a thread of its own: nobody who waits for numbers waits for e-mails."""
    return [
        Chore("advance_orders", timedelta(0), _until_none_is_due(advance_due)),
        Chore("advance_releases", timedelta(seconds=5), _until_none_is_due(advance_releases)),
    ]


def renewals() -> list[Chore]:
    """Thousands of numbers may end on one day. Upkeep goes first: what it gives back is not renewed (R9)."""
    return [
        Chore("keep_pools", timedelta(minutes=1), keep_pools),
        Chore("renew_due", timedelta(minutes=1), renew_due),
    ]


def plans() -> list[Chore]:
    """What computes for seconds, in a thread of its own."""
    return [Chore("make_plans", timedelta(0), PlanMaker().make)]


class Worker:
    """Runs until SIGTERM or SIGINT, then finishes what is under way."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stop = threading.Event()

    def run(self) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)
        helpers = [
            threading.Thread(target=self._keep_doing, args=(plan(),), name=plan.__name__)
            for plan in (chores, errands, purchases, renewals, plans)
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

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stop.set()

    def _keep_doing(self, plan: list[Chore]) -> None:
        while not self.stop.wait(TICK_SECONDS):
            do_due_chores(self.server, plan, self.server.now())


def do_due_chores(server: Server, plan: list[Chore], now: datetime) -> None:
    for chore in plan:
        if now - chore.last < chore.every:
            continue
        chore.last = now
        try:
            chore.do(server, now)
        except Exception:
            log.exception("chore_failed", chore=chore.name)


def _until_none_is_due(advance: Callable[[Server, datetime], int]) -> Callable[[Server, datetime], None]:
    """Claims and works in turns, each with a time of its own: a lease begins when its job is claimed."""

    def work(server: Server, now: datetime) -> None:
        while advance(server, server.now()) and server.now() - now < TURN:
            pass

    return work


def _heartbeat(server: Server, now: datetime) -> None:
    with server.database.writing() as session:
        remember_fact(session, HEARTBEAT, now.isoformat(), now)
