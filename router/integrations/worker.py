"""The worker of deliveries (R11): claims what is due, builds each message when it is sent, sends in a bounded pool of threads, and
writes down how it ended."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import Visit
from router.db import DATABASE_FAULTS
from router.integrations.base import DeliveryError, Expired, Message, Sender, Skipped
from router.integrations.crm import CRM, placeholder_values
from router.integrations.forgetting import REASON as FORGOTTEN
from router.integrations.models import Delivery, DeliveryState, Integration, Lead
from router.integrations.outbox import full_call_documents
from router.integrations.queue import DeliveryClaim, Outcome, anything_due, claim, finish, remember
from router.integrations.text_messages import message_document
from router.integrations.vendors import VENDORS
from router.lib.http_client import Outgoing
from router.lib.phones import spellings_of_line
from router.scenarios.models import Scenario
from router.server import Server
from router.voice.models import Call, TextMessage

THREADS = 24
POLL_SECONDS = 0.5
LATE_SECONDS = 10.0
"""How long a worker that stops waits for its senders beyond the longest attempt."""

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]


class LeaseLost(Exception):
    """Somebody else sends this delivery now; this attempt has to stop."""


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
        self.outgoing = outgoing or Outgoing(server.settings.allow_private)
        self.senders = senders or {kind: vendor.sender(self.outgoing) for kind, vendor in VENDORS.items()}
        self.threads = threads
        self.chance = chance
        self._wake = threading.Event()
        self._under_way: dict[Future[None], bool] = {}
        """Each with whether its receiver failed the last time."""

    def run_once(self, now: datetime) -> int:
        """Sends everything that is due at `now`; returns how many attempts were made.

        Raises:
            Exception: the first that a sender did not expect, after all rows were moved on.
        """
        made = 0
        failures: list[BaseException] = []
        with ThreadPoolExecutor(self.threads, "delivery") as pool:
            while begun := self._begin(pool, lambda: now):
                made += begun
                failures += self._finished(wait(self._under_way).done)
        if failures:
            raise failures[0]
        return made

    def run(self, stop: threading.Event) -> None:
        """Sends what becomes due until `stop` is set; then finishes what is under way."""
        with ThreadPoolExecutor(self.threads, "delivery") as pool:
            while not stop.is_set():
                self._wake.clear()
                try:
                    begun = self._begin(pool, self.server.now)
                except Exception:
                    log.exception("deliveries cannot be claimed")  # the database is away: the next turn tries again
                    begun = 0
                if not begun:
                    self._wake.wait(POLL_SECONDS)
                self._report({future for future in self._under_way if future.done()})
            self._report(wait(self._under_way, timeout=self.outgoing.total_seconds + LATE_SECONDS).done)

    def _begin(self, pool: ThreadPoolExecutor, clock: Clock) -> int:
        """Claims what there is room for and hands it to the pool; at most half of the threads wait for failing receivers."""
        room = self.threads - len(self._under_way)
        room_failing = self.threads // 2 - sum(self._under_way.values())
        now = clock()
        with self.server.database.reading() as session:
            if room <= 0 or not anything_due(session, now):
                return 0
        deadline = self.outgoing.deadline()
        with self.server.database.writing() as session:
            claims = claim(session, now, room, room_failing)
        for claimed in claims:
            future = pool.submit(self._attempt, claimed, clock, deadline)
            self._under_way[future] = claimed.failing
            future.add_done_callback(lambda _: self._wake.set())
        return len(claims)

    def _attempt(self, claim: DeliveryClaim, clock: Clock, deadline: float) -> None:
        """From building the message to writing down how the attempt ended; a poisonous row is moved on before its exception goes up."""
        began = time.monotonic()
        unexpected: Exception | None = None
        try:
            with self.server.database.reading() as session:
                kind, message = self._message(session, claim, clock, deadline)
            if kind not in self.senders:
                raise DeliveryError(f"This server has no connector named {kind}.", permanent=True)
            answer = self.senders[kind].deliver(message)
            reference = {name: value for name, value in answer.items() if name != "status"}
            note = str(reference.get("warning", ""))
            if reference.get("unconfirmed"):
                note = "No answer came in time; it counts as sent."
            outcome = Outcome(DeliveryState.DONE, note, status=answer.get("status"), reference=reference)
        except LeaseLost:
            return
        except Skipped as reason:
            outcome = Outcome(DeliveryState.SKIPPED, str(reason))
        except Expired as reason:
            outcome = Outcome(DeliveryState.EXPIRED, str(reason))
        except DeliveryError as error:
            outcome = Outcome(
                DeliveryState.DEAD if error.permanent else "retry",
                str(error),
                status=error.status,
                retry_after=error.retry_after,
                refused_account=error.refused_account,
            )
        except DATABASE_FAULTS as error:
            unexpected = error
            outcome = Outcome("retry", f"Our database failed: {type(error).__name__}.", database_failed=True)
        except Exception as error:
            unexpected = error
            outcome = Outcome("retry", f"Our mistake: {type(error).__name__}. The log has more.")
        outcome = replace(outcome, milliseconds=int((time.monotonic() - began) * 1000))
        with self.server.database.writing() as session:
            kept = finish(session, claim, outcome, clock(), self.chance())
        log.info(
            "delivery", id=claim.id, attempt=claim.job.attempts, outcome=outcome.kind, status=outcome.status, kept=kept
        )
        if unexpected is not None:
            raise unexpected

    def _message(self, session: Session, claim: DeliveryClaim, clock: Clock, deadline: float) -> tuple[str, Message]:
        """The kind of the receiver and the message for it.

        Raises:
            Skipped: the integration was removed, or the call is not there any more.
            Expired: it is too late.
        """

        def keep(steps: dict[str, Any]) -> None:
            with self.server.database.writing() as session:
                if not remember(session, claim, steps, clock()):
                    raise LeaseLost

        now = clock()
        delivery = session.get_one(Delivery, claim.id)
        with_manager = select(Integration, Scenario.manager).join(Scenario, Scenario.id == Integration.scenario_id)
        row = session.execute(with_manager.where(Integration.id == delivery.integration_id)).first()
        text = session.get(TextMessage, delivery.text_message_id) if delivery.text_message_id else None
        call = session.get(Call, delivery.call_id)
        if row is None or row.Integration.removed_at is not None:
            raise Skipped("the integration was removed")
        integration: Integration = row.Integration
        if text is not None:
            return integration.kind, Message(
                id=delivery.message_id,
                event=delivery.event,
                event_at=delivery.event_at,
                now=now,
                config=integration.config,
                secret=self.server.keys.unseal(integration.sealed) if integration.sealed else "",
                call=message_document(text),
                placeholders={},
                visit_last_sign=None,
                reference=delivery.reference,
                known_lead=None,
                deadline=deadline,
                remember=keep,
            )
        if call is None:
            raise Skipped("the message was deleted" if delivery.text_message_id else "the call was deleted")
        if call.forgotten_id is not None and integration.slot == CRM.name:
            raise Skipped(FORGOTTEN)
        if delivery.not_after is not None and now > delivery.not_after:
            raise Expired("too late: the receiver would not count it any more")
        visit = session.get(Visit, call.visit_id) if call.visit_id is not None else None
        project = session.get_one(Project, delivery.project_id)
        known_lead = None
        if call.caller is not None:
            of_caller = (Lead.receiver == integration.receiver, Lead.caller.in_(spellings_of_line(call.caller)))
            known_lead = session.scalar(select(Lead.external_id).where(*of_caller).order_by(Lead.id).limit(1))
        return integration.kind, Message(
            id=delivery.message_id,
            event=delivery.event,
            event_at=delivery.event_at,
            now=now,
            config=integration.config,
            secret=self.server.keys.unseal(integration.sealed) if integration.sealed else "",
            call=full_call_documents(self.server, session, [call])[0],
            placeholders=placeholder_values(call, visit, project),
            visit_last_sign=visit.last_sign_at if visit else None,
            reference=delivery.reference,
            known_lead=known_lead,
            deadline=deadline,
            remember=keep,
            country=project.country,
            managers=(row.manager, str(integration.config.get("manager") or "")),
        )

    def _finished(self, futures: set[Future[None]]) -> list[BaseException]:
        for future in futures:
            self._under_way.pop(future, None)
        return [error for future in futures if (error := future.exception()) is not None]

    def _report(self, futures: set[Future[None]]) -> None:
        for error in self._finished(futures):
            log.error("a delivery failed in a way nobody expected", exc_info=error)
