"""Trying a receiver's settings out before they are saved, and changing the secret of a webhook: while both secrets sign, the receiver has a
day to take the new one over."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, request
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Change, changing
from router.accounts.mail import Letter, write_mail
from router.accounts.models import Project
from router.accounts.sessions import require_token
from router.attribution.models import Visit
from router.integrations.base import Message, Trial, Vendor
from router.integrations.crm.placeholders import placeholder_values
from router.integrations.models import Integration
from router.integrations.outbox import full_call_documents
from router.integrations.vendors import VENDORS, slots, vendors_in
from router.lib.http_client import Outgoing
from router.lib.tls import trusted_authorities
from router.scenarios.service import find_scenario
from router.server import Server, current_server
from router.voice.models import EXTERNAL, Call
from router.web.access import Audience, current_project, guard
from router.web.api import described
from router.web.errors import Problem, iso, read_json

INTEGRATIONS = "integrations"
"""The member of a scenario's document, and the wizard's step."""
OVERLAP = timedelta(hours=24)
"""For how long the secret before still signs."""


@dataclass(frozen=True)
class Receiver:
    """A receiver with settings that need not be stored."""

    server: Server
    project: Project
    vendor: Vendor
    config: Mapping[str, Any]
    secret: str
    event: str
    """The one that a test is about."""

    @classmethod
    def of(
        cls, server: Server, project: Project, scenario_id: int | None, slot: str, settings: Mapping[str, Any]
    ) -> "Receiver":
        """A secret that is absent is the stored one of the scenario, else one made for the test alone.

        Raises:
            Problem: 422 naming each field that cannot be used; 404, there is no such scenario.
        """
        vendors = vendors_in(slots()[slot]).values()
        if not any(vendor.try_out or vendor.letter for vendor in vendors):
            raise Problem(404, f"{slots()[slot].title} has no test here.")
        (part,) = (part for part in server.scenario_parts if part.name == INTEGRATIONS)
        with server.database.reading() as session:
            stored = None
            if scenario_id is not None:
                find_scenario(session, project, scenario_id)
                of_slot = (Integration.scenario_id == scenario_id, Integration.slot == slot)
                stored = session.scalar(select(Integration).where(*of_slot, Integration.removed_at.is_(None)))
            draft = part.check(session, project, scenario_id, {slot: dict(settings)})[slot]
        secret = draft.secret
        if secret is None and stored is not None and stored.sealed and stored.kind == draft.vendor.kind:
            secret = server.keys.unseal(stored.sealed)
        if secret is None and draft.vendor.make_secret is not None:
            secret = draft.vendor.make_secret()
        events = draft.config.get("events") or draft.vendor.events[slots()[slot]]
        return cls(server, project, draft.vendor, draft.config, secret or "", events[0] if events else "call.ended")

    def try_out(self) -> Trial:
        """What the receiver says to a test. It talks to others: no transaction may wait for it.

        Raises:
            Problem: 404, receivers of this kind cannot be tried out so.
        """
        if self.vendor.letter is not None:
            return self._mail(self.vendor.letter)
        if self.vendor.try_out is None:
            raise Problem(404, f"{self.vendor.name} has no test.")
        tls = trusted_authorities(self.server.settings.ca_file)
        outgoing = Outgoing(self.server.settings.allow_private, tls=tls)
        message, began = self._message(outgoing.deadline()), time.monotonic()
        trial = self.vendor.try_out(outgoing, message)
        return replace(trial, milliseconds=int((time.monotonic() - began) * 1000))

    def _mail(self, letter: Callable[[Message], tuple[list[str], Letter]]) -> Trial:
        message = self._message(0.0)
        recipients, written = letter(message)
        if self.server.settings.mail_server is None:
            return Trial(
                False, "This server has no mail server, so that no e-mail leaves it. Its operator sets ROUTER_MAIL_URL."
            )
        with self.server.database.writing() as session:
            project = session.get_one(Project, self.project.id)
            for place, recipient in enumerate(recipients):
                key, now = f"{message.id}:{place}", message.now
                write_mail(session, project, key, written.subject, written.body, now, recipient=recipient)
            to = ", ".join(recipient or project.email for recipient in recipients)
        return Trial(True, f"A test is on its way to {to}. If it does not arrive, Settings, E-mails says why.")

    def preview(self) -> str:
        """
        Raises:
            Problem: 404, of receivers of this kind nothing can be shown.
        """
        if self.vendor.shows is None:
            raise Problem(404, f"{self.vendor.name} has nothing to show.")
        return self.vendor.shows(replace(self._message(0.0), is_test=False))

    def _message(self, deadline: float) -> Message:
        with self.server.database.reading() as session:
            return example_message(
                self.server, session, self.project, self.config, self.secret, self.event, self.server.now(), deadline
            )


def example_message(
    server: Server,
    session: Session,
    project: Project,
    config: Mapping[str, Any],
    secret: str,
    event: str,
    now: datetime,
    deadline: float,
) -> Message:
    """The message about the project's last call, marked as a test; about an example of a call while there was none."""
    last = select(Call).where(Call.project_id == project.id, Call.kind == EXTERNAL, Call.forgotten_id.is_(None))
    last = last.where(Call.ended_at.is_not(None)).order_by(Call.started_at.desc(), Call.id.desc()).limit(1)
    call = session.scalar(last)
    document, values = EXAMPLE | {"started_at": iso(now)}, {"date": f"{now:%Y-%m-%d %H:%M:%S}"}
    if call is not None:
        document = full_call_documents(server, session, [call])[0]
        visit = session.get(Visit, call.visit_id) if call.visit_id is not None else None
        values = placeholder_values(call, visit, project)
    return Message(
        id=f"test_{secrets.token_hex(10)}",
        event=event,
        event_at=now,
        now=now,
        config=config,
        secret=secret,
        call=document,
        placeholders=values,
        visit_last_sign=None,
        reference={},
        known_lead=None,
        deadline=deadline,
        country=project.country,
        is_test=True,
    )


EXAMPLE: dict[str, Any] = {
    "id": 0,
    "sid": "CA00000000000000000000000000000000",
    "kind": "external",
    "blocked": None,
    "caller": "+14155550123",
    "number": "+14155550100",
    "scenario": None,
    "destination": "+14155550111",
    "status": "answered",
    "first_call": True,
    "ring_seconds": 6,
    "duration": 72,
    "visit": 10001,
    "landing_page": "https://www.example.com/?utm_source=google&utm_medium=cpc&utm_campaign=spring",
    "referrer": "https://www.google.com/",
    "source": {
        "channel": "paid_search",
        "source": "google",
        "medium": "cpc",
        "campaign": "spring",
        "term": "",
        "content": "",
    },
    "attribution": {"rule": "lease", "confidence": 0.87, "source_confidence": 0.91, "candidates": []},
    "click_ids": {},
    "ga": {},
    "params": {},
    "recording": None,
    "recordings": [],
    "deliveries": [],
}
"""A call that nobody made."""


def rotate_secret(change: Change, scenario_id: int, slot: str) -> tuple[str, datetime]:
    """Makes a new secret for the integration in this slot; returns what people are shown of it, and until when the one before counts as
    well. A secret before that one does not any more.

    Raises:
        Problem: 404, there is no such integration; 409, its secret is none that is made here.
    """
    scenario = find_scenario(change.session, change.project, scenario_id)
    of_slot = (Integration.scenario_id == scenario.id, Integration.slot == slot, Integration.removed_at.is_(None))
    integration = change.session.scalar(select(Integration).where(*of_slot).with_for_update())
    if integration is None:
        raise Problem(404, "There is no such integration.")
    vendor = VENDORS.get(integration.kind)
    if vendor is None or vendor.make_secret is None:
        raise Problem(409, "Its key is made elsewhere: type a new one in the scenario's integrations.")
    secret, until = vendor.make_secret(), change.now + OVERLAP
    integration.sealed_before, integration.earlier_until = integration.sealed, until
    integration.sealed = change.server.keys.seal(secret)
    if vendor.reveals is not None:
        secret = vendor.reveals(change.server.settings.base_url, scenario_id, secret)
    change.record("secret rotated", f"scenario {scenario.id} “{scenario.title}”", slot=slot)
    return secret, until


receivers_api = guard(
    Blueprint("receivers_api", __name__, url_prefix="/api/v1/projects/<int:project_id>"),
    Audience.PROGRAMS,
    require_token,
)


class RotatedSecret(BaseModel):
    """`earlier_until`: until then messages are signed with the secret before as well."""

    secret: str
    earlier_until: str


class TrialBody(BaseModel):
    """The settings of one receiver as a scenario's `integrations` have them. `scenario`: its stored secret is used where none is given."""

    slot: str
    settings: dict[str, Any]
    scenario: int | None = Field(None)


class TrialDocument(BaseModel):
    """What came of a test. `status`: of the receiver's answer, `answer`: the beginning of its body."""

    good: bool
    words: str
    status: int | None
    answer: str
    milliseconds: int


@receivers_api.post("/scenarios/<int:scenario_id>/integrations/<slot>/rotate-secret")
@described(answer=RotatedSecret, needs_body=False)
def post_rotation(project_id: int, scenario_id: int, slot: str) -> dict[str, str]:
    """Make a new secret for a webhook, which this answer alone tells; for 24 hours both sign."""
    with changing() as change:
        secret, until = rotate_secret(change, scenario_id, slot)
    return {"secret": secret, "earlier_until": iso(until)}


@receivers_api.post("/integrations/test")
@described(body=TrialBody, answer=TrialDocument)
def post_test(project_id: int) -> dict[str, Any]:
    """Send a test to a receiver, with settings that need not be stored: on the last call, or on an example."""
    body = read_json(request)
    slot, settings, scenario_id = body.get("slot"), body.get("settings"), body.get("scenario")
    if not isinstance(slot, str) or slot not in slots():
        raise Problem(422, f"“slot” is one of {', '.join(slots())}.", "slot")
    if not isinstance(settings, dict):
        raise Problem(422, "“settings” has to be an object.", "settings")
    if scenario_id is not None and (type(scenario_id) is not int or not 0 < scenario_id < 2**63):
        raise Problem(422, "“scenario” has to be a scenario's id.", "scenario")
    return told(Receiver.of(current_server(), current_project(), scenario_id, slot, settings).try_out())


def told(trial: Trial) -> dict[str, Any]:
    return {
        "good": trial.is_good,
        "words": trial.words,
        "status": trial.status,
        "answer": trial.answer,
        "milliseconds": trial.milliseconds,
    }
