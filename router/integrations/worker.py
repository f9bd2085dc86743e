"""The worker of deliveries (R11): claims what is due, builds the messages, sends them in a bounded pool of threads, and writes down how it
ended, each for a whole batch. One thread does all but the sending."""

import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog

from router.accounts.models import remember_fact
from router.db import DATABASE_FAULTS
from router.integrations.base import DeliveryError, Expired, Sender, Skipped
from router.integrations.messages import Built, build_messages
from router.integrations.models import DeliveryState
from router.integrations.queue import (
    LOST,
    MOST_OF_ONE,
    DeliveryClaim,
    Due,
    Outcome,
    claim,
    finish,
    finish_all,
    has_lost,
    look,
    mark_sending,
    remember,
    take_back_lost,
)
from router.integrations.receivers import FAILURES_TO_OPEN
from router.integrations.vendors import VENDORS
from router.integrations.wakeups import folder_of, woken
from router.lib.http_client import Outgoing
from router.lib.tls import trusted_authorities
from router.server import Server
from router.voice.clocks import MachineClock

THREADS = 96
POLL_SECONDS = 0.5
GATHER_SECONDS = 0.005
"""What ends meanwhile is written down together."""
LOOK_SECONDS = 0.1
"""Between two looks at all integrations, while some are known to have more."""
LATE_SECONDS = 10.0
"""How long a worker that stops waits for its senders beyond the longest attempt, and for the database."""
FIRST_AT_ONCE = 2
SLOW_SECONDS = 2.0
"""A receiver that has not answered for so long gets few at once, and none of the threads that are kept for others."""
SLOW_AT_ONCE = 4
QUICK_MILLISECONDS = 500
LONGEST_WAIT = 5.0
"""Seconds from its claim for which an attempt waits for its turn: what is left of its time has to suffice, and its lease must not end."""
CLOCK_TOLERANCE = timedelta(seconds=5)
RECOVERY_SECONDS = 10.0
"""After the database was away, the leases of others are not taken back before their workers could write down how their attempts ended."""
WORKER_CLOCK = "worker_clock:"
"""The fact with how far the clock of a worker's machine is ahead of the database's, in seconds, behind it the machine's name."""

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]


class LeaseLost(Exception):
    """Somebody else sends this delivery now; this attempt has to stop."""


class StepNotKept(Exception):
    """The database did not take the result of a step; the attempt stops, and what it did so far is written down with its end."""


@dataclass
class Pace:
    """How many deliveries a receiver gets at once: more while it answers well, half as many after each failure."""

    limit: float = FIRST_AT_ONCE
    under_way: int = 0
    under_way_failing: int = 0
    """Of these, those that began when the receiver was known to fail."""
    is_quick: bool = False
    """It has just taken one at once: twice as many more are claimed ahead, and wait here for their turn."""
    sending: int = 0
    ahead: deque["Attempt"] = field(default_factory=deque)
    failed_in_a_row: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Of the last three."""

    def take(self, outcome: Outcome) -> None:
        self.is_quick = outcome.kind == DeliveryState.DONE and outcome.milliseconds < QUICK_MILLISECONDS
        if outcome.kind == DeliveryState.DONE:
            self.limit = min(self.limit + 1, MOST_OF_ONE)
        elif _has_failed(outcome):
            self.limit = max(self.limit / 2, 1.0)


class Attempt(NamedTuple):
    claim: DeliveryClaim
    built: Built
    claimed: float
    """Monotonic."""
    clock: Clock


class DeliveryWorker:
    """Sends deliveries for one process. `run` until told to stop, or `run_once` for what is due now."""

    def __init__(
        self,
        server: Server,
        *,
        outgoing: Outgoing | None = None,
        senders: Mapping[str, Sender] | None = None,
        threads: int = THREADS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.server = server
        tls = trusted_authorities(server.settings.ca_file)
        self.outgoing = outgoing or Outgoing(server.settings.allow_private, keep_alive=threads, tls=tls)
        self.senders = senders or {kind: vendor.sender(self.outgoing) for kind, vendor in VENDORS.items()}
        self.threads = threads
        self.chance = chance
        self._wake = threading.Event()
        self._under_way: dict[int, Attempt] = {}
        """By the ids of deliveries: those that are being sent, or wait for their turn."""
        self._threads: set[Future[None]] = set()
        self._ended: deque[tuple[DeliveryClaim, Outcome]] = deque()
        """What senders have told, and nobody has taken yet."""
        self._unwritten: list[tuple[DeliveryClaim, Outcome]] = []
        """What the database has not taken yet. It is written down before anything else is claimed."""
        self._unexpected: list[BaseException] = []
        self._paces: dict[str, Pace] = {}
        self._known_due: list[Due] = []
        self._looked = 0.0
        self._takes_back_from = 0.0
        self._clock = MachineClock(server.now)
        self._clock_is_wrong = False

    def run_once(self, now: datetime) -> int:
        """Sends everything that is due at `now`; returns how many attempts were made.

        Raises:
            Exception: the first that a sender did not expect, after all rows were moved on.
        """
        made = 0
        with ThreadPoolExecutor(self.threads, "delivery") as pool:
            while begun := self._begin(pool, lambda: now, looks=True):
                made += begun
                wait(self._threads)
                self._write_ended(lambda: now)
        unexpected, self._unexpected = self._unexpected, []
        if unexpected:
            raise unexpected[0]
        return made

    def run(self, stop: threading.Event) -> None:
        """Sends what becomes due until `stop` is set; then finishes what is under way."""
        self._takes_back_from = time.monotonic() + RECOVERY_SECONDS
        with (
            woken(folder_of(self.server.settings), self._wake.set),
            ThreadPoolExecutor(self.threads, "delivery") as pool,
        ):
            while not stop.is_set():
                self._wake.clear()
                self._turn(pool)
                if self._wake.wait(POLL_SECONDS):
                    time.sleep(GATHER_SECONDS)
            until = time.monotonic() + self.outgoing.total_seconds + LATE_SECONDS
            wait(self._threads, timeout=self.outgoing.total_seconds + LATE_SECONDS)
            while not self._write_safely() and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
        self.outgoing.close()

    def _turn(self, pool: ThreadPoolExecutor) -> None:
        if not self._write_safely():
            return
        try:
            self._compare_clocks()
            self._begin(pool, self._now, looks=time.monotonic() >= self._looked + LOOK_SECONDS)
        except Exception:
            self._database_is_away("deliveries cannot be claimed")
        for error in self._unexpected:
            log.error("a delivery failed in a way nobody expected", exc_info=error)
        self._unexpected.clear()

    def _write_safely(self) -> bool:
        try:
            self._write_ended(self._now)
        except Exception:
            self._database_is_away("ends of deliveries cannot be written down yet")
            return False
        return True

    def _database_is_away(self, what: str) -> None:
        log.exception(what, unwritten=len(self._unwritten))  # the next turn tries again
        self._takes_back_from = time.monotonic() + RECOVERY_SECONDS

    def _now(self) -> datetime:
        """By the database's clock, in which leases of all workers are told."""
        return self.server.now() - self._clock.offset

    def _compare_clocks(self) -> None:
        """Once a minute, and when this machine's clock was set. A wrong one is told to the log once, and to `/readyz`; it holds no lead
        up, as nothing here goes by it."""
        if not self._clock.is_due:
            return
        with self.server.database.reading() as session:
            self._clock.measure(session)
        if not self.server.database.is_sqlite:
            with self.server.database.writing() as session:
                name = f"{WORKER_CLOCK}{socket.gethostname()}"[:60]
                remember_fact(session, name, str(self._clock.seconds), self._now())
        is_wrong = abs(self._clock.offset) > CLOCK_TOLERANCE
        if is_wrong != self._clock_is_wrong:
            self._clock_is_wrong = is_wrong
            log.warning("clock_is_wrong" if is_wrong else "clock_is_right_again", ahead=self._clock.seconds)

    def _begin(self, pool: ThreadPoolExecutor, clock: Clock, *, looks: bool) -> int:
        """Claims what there is room for, builds the messages and hands them to the pool; returns how many."""
        room = 2 * self.threads - len(self._under_way)
        if room <= 0:
            return 0
        now, monotonic = clock(), time.monotonic()
        due = self._known_due
        if looks or not due:
            self._looked = monotonic
            with self.server.database.reading() as session:
                due = look(session, now)
                lost = monotonic >= self._takes_back_from and has_lost(session, now)
            if lost:
                with self.server.database.writing() as session:
                    take_back_lost(session, now)
                    due = look(session, now)
        slow = {one.claim.job.receiver for one in self._under_way.values() if monotonic - one.claimed > SLOW_SECONDS}
        # at most half of the threads wait for receivers that fail or do not answer
        kept = sum(one.claim.failing or one.claim.job.receiver in slow for one in self._under_way.values())
        slots = {one.receiver: self._slots(one.receiver, one.receiver in slow) for one in due}
        if kept >= self.threads // 2:
            slots |= dict.fromkeys(slow, 0)
        if not any(slots.values()):
            return 0
        with self.server.database.writing() as session:
            claims = claim(session, now, room, self.threads // 2 - kept, slots.__getitem__, due)
        taken: dict[str, int] = {}
        for one in claims:
            taken[one.job.receiver] = taken.get(one.job.receiver, 0) + 1
        # who got as many as it may have has more; who got less has nothing else that is due
        self._known_due = [one for one in due if slots[one.receiver] <= taken.get(one.receiver, 0)]
        if len(claims) >= room:
            self._known_due = due
        if claims:
            self._send(pool, claims, clock)
        return len(claims)

    def _slots(self, receiver: str, is_slow: bool) -> int:
        pace = self._paces.get(receiver)
        if pace is None:
            return FIRST_AT_ONCE
        if pace.under_way_failing:
            return 0
        if is_slow:
            return max(min(int(pace.limit), SLOW_AT_ONCE) - pace.under_way, 0)
        return max(int(pace.limit) * (3 if pace.is_quick else 1) - pace.under_way, 0)

    def _send(self, pool: ThreadPoolExecutor, claims: Sequence[DeliveryClaim], clock: Clock) -> None:
        deadline, since = self.outgoing.deadline(), time.monotonic()
        for one in claims:
            pace = self._paces.setdefault(one.job.receiver, Pace())
            pace.under_way += 1
            pace.under_way_failing += one.failing
        try:
            with self.server.database.reading() as session:
                built = build_messages(
                    self.server, session, claims, clock(), deadline, lambda one: self._keeper(one, clock)
                )
        except DATABASE_FAULTS as error:
            self._unexpected.append(error)
            outcome = Outcome("retry", f"Our database failed: {type(error).__name__}.", not_tried=True)
            self._ended.extend((one, outcome) for one in claims)
            return
        for one in claims:
            if one.job.sending_at is not None:
                self._end(one, Outcome(DeliveryState.UNCONFIRMED, LOST))
            else:
                attempt = self._under_way[one.id] = Attempt(one, built[one.id], since, clock)
                pace = self._paces[one.job.receiver]
                with pace.lock:
                    pace.ahead.append(attempt)
                    is_free = not pace.sending or len(self._threads) < self.threads
                    is_turn = pace.sending < int(pace.limit) and is_free
                    pace.sending += is_turn
                if is_turn:
                    self._threads.add(pool.submit(self._work_off, pace))

    def _keeper(self, claim: DeliveryClaim, clock: Clock) -> Callable[[dict[str, Any]], None]:
        def keep(steps: dict[str, Any]) -> None:
            try:
                with self.server.database.writing() as session:
                    if not remember(session, claim, steps, clock()):
                        raise LeaseLost
            except DATABASE_FAULTS as error:
                raise StepNotKept(steps) from error

        return keep

    def _work_off(self, pace: Pace) -> None:
        """In a thread of the pool: what waits for one receiver, one after the other."""
        while True:
            with pace.lock:
                if not pace.ahead:
                    pace.sending -= 1
                    return
                attempt = pace.ahead.popleft()
            outcome = self._attempt(attempt)
            with pace.lock:
                pace.failed_in_a_row = (
                    0 if outcome.kind == DeliveryState.DONE else pace.failed_in_a_row + _has_failed(outcome)
                )
                given_back = list(pace.ahead) if pace.failed_in_a_row >= FAILURES_TO_OPEN else []
                for _ in given_back:
                    pace.ahead.popleft()
            for waiting in given_back:  # they would only fail as well
                self._end(waiting.claim, Outcome("retry", outcome.message, not_tried=True))

    def _attempt(self, attempt: Attempt) -> Outcome:
        """How it ended is told to the thread that writes it down, too."""
        began = time.monotonic()
        if began - attempt.claimed > LONGEST_WAIT:
            outcome = Outcome("retry", "It did not get its turn in time.", not_tried=True)
        else:
            outcome = self._unmarked(attempt) or self._deliver(attempt.claim, attempt.built)
        outcome = replace(outcome, milliseconds=int((time.monotonic() - began) * 1000))
        self._end(attempt.claim, outcome)
        return outcome

    def _unmarked(self, attempt: Attempt) -> Outcome | None:
        """Marks, in a commit of its own, what a receiver may get only once: now, not when it was claimed, so that what still waits for its
        turn when this worker dies is sent by another one. An outcome: it could not be marked, and is not to be sent."""
        if not _at_most_once(attempt.built):
            return None
        try:
            with self.server.database.writing() as session:
                is_held = mark_sending(session, [attempt.claim], attempt.clock())
        except DATABASE_FAULTS as error:
            return Outcome("retry", f"Our database failed: {type(error).__name__}.", not_tried=True)
        return None if is_held else Outcome("retry", not_tried=True)  # somebody else has it

    def _end(self, claim: DeliveryClaim, outcome: Outcome) -> None:
        self._ended.append((claim, outcome))
        self._wake.set()

    def _deliver(self, claim: DeliveryClaim, built: Built) -> Outcome:
        once, settles_after = _at_most_once(built), timedelta(0)
        self.outgoing.begin()
        try:
            if isinstance(built, Exception):
                raise built
            kind, message = built
            if kind not in self.senders:
                raise DeliveryError(f"This server has no connector named {kind}.", permanent=True)
            settles_after = VENDORS[kind].settles_after if kind in VENDORS else settles_after
            answer = self.senders[kind].deliver(message)
            said = str(answer.get("answer") or "")
            reference = {name: value for name, value in answer.items() if name not in ("status", "answer")}
            if reference.get("unconfirmed"):
                return Outcome(DeliveryState.UNCONFIRMED, UNANSWERED, status=answer.get("status"))
            note = str(reference.get("warning", ""))
            return Outcome(DeliveryState.DONE, note, status=answer.get("status"), reference=reference, answer=said)
        except LeaseLost:
            return Outcome("retry", not_tried=True)
        except Skipped as reason:
            return Outcome(DeliveryState.SKIPPED, str(reason))
        except Expired as reason:
            return Outcome(DeliveryState.EXPIRED, str(reason))
        except DeliveryError as error:
            if once and error.ambiguous and error.status is None:
                return Outcome(DeliveryState.UNCONFIRMED, UNANSWERED)
            return Outcome(
                "retry" if error.gone or not error.permanent else DeliveryState.DEAD,
                str(error),
                status=error.status,
                retry_after=error.retry_after,
                refused_account=error.refused_account,
                gone=error.gone,
                ambiguous=error.ambiguous,
                settles_after=settles_after,
                answer=error.answer,
            )
        except StepNotKept as error:
            (steps,) = error.args
            return Outcome("retry", "Our database did not take what was done so far.", not_tried=True, steps=steps)
        except Exception as error:
            self._unexpected.append(error)
            words = f"Our mistake: {type(error).__name__}. The log has more."
            if once and self.outgoing.has_sent:
                return Outcome(DeliveryState.UNCONFIRMED, words)
            return Outcome("retry", words)

    def _write_ended(self, clock: Clock) -> None:
        """What the database does not take stays, and is written down when it is back.

        Raises:
            Exception: it is away.
        """
        self._threads = {future for future in self._threads if not future.done()}
        while self._ended:
            one, outcome = self._ended.popleft()
            self._unwritten.append((one, outcome))
            self._under_way.pop(one.id, None)
            pace = self._paces[one.job.receiver]
            pace.under_way -= 1
            pace.under_way_failing -= one.failing
            pace.take(outcome)
        if not self._unwritten:
            return
        try:
            with self.server.database.writing() as session:
                kept = finish_all(session, self._unwritten, clock(), self.chance)
        except DATABASE_FAULTS:
            raise
        except Exception as error:
            self._unexpected.append(error)
            kept = self._write_alone(clock)
        for one, outcome in self._unwritten:
            log.info(
                "delivery",
                id=one.id,
                attempt=one.job.attempts,
                outcome=outcome.kind,
                status=outcome.status,
                kept=one.id in kept,
            )
        self._unwritten.clear()
        if len(self._paces) > MOST_PACES:
            self._paces = {receiver: pace for receiver, pace in self._paces.items() if pace.under_way}

    def _write_alone(self, clock: Clock) -> set[int]:
        """Each end by itself, because one of them cannot be written as it is: that one without what its receiver has said."""
        kept: set[int] = set()
        for one, outcome in self._unwritten:
            bare = replace(outcome, message="What the receiver answered could not be kept.", reference={}, steps={})
            for each in (outcome, bare):
                try:
                    with self.server.database.writing() as session:
                        if finish(session, one, each, clock(), self.chance()):
                            kept.add(one.id)
                    break
                except DATABASE_FAULTS:
                    raise
                except Exception as error:
                    log.warning("the end of a delivery cannot be written down", id=one.id, exc_info=error)
        return kept


UNANSWERED = "No answer came: it may have arrived, and is not sent again by itself."
MOST_PACES = 1000


def _has_failed(outcome: Outcome) -> bool:
    """It says something of the receiver, and nothing good."""
    return outcome.kind in ("retry", DeliveryState.UNCONFIRMED) and not outcome.not_tried


def _at_most_once(built: Built) -> bool:
    return not isinstance(built, Exception) and built[0] in VENDORS and VENDORS[built[0]].at_most_once
