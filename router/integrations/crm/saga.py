"""What becomes of a call in a CRM, whichever it is: find the caller, make a contact and a lead or take the one that is there, enter the
call, and leave a task when it was missed. Later changes are entered beside it and make nothing anew (R7, R10).

Each step is remembered before the next, so that a repeat resumes. A step that makes something is marked before it begins; a repeat that
finds the mark waits until the CRM's own limit is over and looks for what may have been made. A value is changed only while it is still
the one that we wrote, else a note tells what it would be."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from html import escape
from itertools import islice
from typing import Any, ClassVar

from router.integrations.base import DeliveryError, Message, Skipped
from router.integrations.crm import notes
from router.integrations.crm.connector import (
    Access,
    CallEntry,
    Caller,
    Connector,
    FieldsRefused,
    NewLead,
    Person,
    Record,
    RecordGone,
    Task,
)
from router.integrations.crm.matching import FoundContact, FoundLead, Match, RecordId, Switches, lead_to_add_to
from router.integrations.crm.placeholders import PLACE, fill
from router.lib.http_client import Outgoing
from router.voice.models import BLOCKED

TITLE = "Call from {phone}"
NO_CUSTOMER = "the caller withheld the number, so there is no customer to name"
MATCHES = {
    Match.KNOWN: "its phone number",
    Match.TYPED: "a number in the text of its phone field",
    Match.EXTENSION: "a number with an extension, of the same line",
    Match.ABROAD: "a number without a country code, read as the caller's country writes it",
}
"""How the record was found, as people are told."""
MISSED = ("missed", "busy", "failed", "abandoned", "voicemail")
"""How a call ends that somebody has to return."""


class CrmSender:
    """Enters calls in accounts of one kind of CRM."""

    connector: ClassVar[type[Connector]]
    settles_after: ClassVar[timedelta] = timedelta(seconds=60)
    """After a step without an answer: by then it has happened, or never will, and the CRM's search finds it."""

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing

    def deliver(self, message: Message) -> dict[str, Any]:
        connector = self.connector(self.outgoing, Access.of(message))
        saga = Saga(connector, message, self.settles_after)
        try:
            return saga.update() if message.event == "call.updated" else saga.enter()
        except DeliveryError as error:
            error.ambiguous = error.ambiguous and saga.making
            raise


class Saga:
    """One delivery. `steps` is what its earlier attempts remembered, and grows."""

    def __init__(self, connector: Connector, message: Message, settles_after: timedelta) -> None:
        self.crm = connector
        self.message = message
        self.settles_after = settles_after
        self.config = message.config
        self.steps = dict(message.reference)
        self.made = False
        """The lead was made by this attempt."""
        self.rewrote = False
        """Values of the lead were changed by this attempt."""
        self.making = False
        """A request is under way that makes or changes something."""
        self.key = str(message.call["sid"])
        self.mark = notes.MARK + self.key
        self.country = message.country
        recording = notes.recording_page(message)
        self.placeholders = {**message.placeholders, "callId": self.key, "recording": recording}

    def remember(self, steps: dict[str, Any]) -> None:
        self.steps |= steps
        self.message.remember(steps)

    # a call that ended

    def enter(self) -> dict[str, Any]:
        if not self.steps.get("record"):
            self._choose()
        record = Record(str(self.steps["model"]), self.steps["record"])
        try:
            if self.steps.get("reopen"):
                self._changing(lambda: self.crm.reopen(record))
                self.remember({"reopen": False})
            entry = self.entry()
            note = self.steps.get("note_id") or self._looked_up(
                "call", lambda: self.crm.add_call(record, entry), record
            )
            self.remember({"note_id": note, "entered": _entered(entry)})
            task, warning = self._task_or_why(record)
        except RecordGone:
            self.remember(
                dict.fromkeys(("model", "record", "match", "creating", "warning", "reopen", "note_id", "begun"))
            )
            raise DeliveryError(f"The record was deleted in {self.crm.product} meanwhile.", status=404) from None
        answer = {"status": 200, "model": record.kind, "record": record.id, "note_id": note}
        if task is not None:
            answer["task_id"] = task
        warnings = [words for words in (self.steps.get("warning"), warning) if words]
        return answer | ({"warning": "; ".join(warnings)} if warnings else {})

    def _choose(self) -> None:
        """Remembers the record to which the call is added, made if R10 asks for a new one."""
        is_repeat = bool(self.steps.get("creating"))
        if not is_repeat:
            choice = self._found()
            if isinstance(choice, FoundLead):
                hidden = {"reopen": True, "reopened": True} if choice.is_hidden else {}
                lead = {"model": self.crm.lead, "record": choice.id, "lead_id": choice.id}
                return self.remember(lead | {"match": MATCHES[choice.match]} | hidden)
            if isinstance(choice, FoundContact):
                found = {"model": self.crm.contact, "record": choice.id, "match": MATCHES[choice.match]}
                return self.remember(found)
            if unwanted := self._unwanted():
                raise Skipped(unwanted)
            # decided before anything is sent: our own lead must not look like an older one
            self.remember({"creating": True})
        self._settled("lead")
        made = self.crm.own("lead", self.key, self.mark, None)
        if made is not None:
            return self.remember(self._lead_step(made))
        moved = self.crm.moved(self.mark) if is_repeat else None
        if moved is not None:  # our lead was merged into another one, and the entry of this call went along
            lead_id = {"lead_id": moved.id} if moved.kind == self.crm.lead else {}
            return self.remember({"model": moved.kind, "record": moved.id} | lead_id)
        self._create()

    def _found(self) -> FoundLead | FoundContact | None:
        """What is there of this caller and counts; None: a lead has to be made."""
        e164 = self.message.call["caller"]
        if not e164:
            if self.config.get("withheld_leads"):
                return None
            raise Skipped(NO_CUSTOMER)
        known = self.message.known_lead
        caller = Caller(str(e164), known, self.country)
        switches = Switches(
            bool(self.config.get("only_new_customers", True)),
            bool(self.config.get("not_while_open", True)),
            bool(self.config.get("reopen_lost", False)),
        )
        if not (switches.searches or self.crm.makes_contacts):
            return None
        leads: dict[str, FoundLead] = {}
        contacts: dict[str, FoundContact] = {}
        choice: FoundLead | str = "create"
        for found in self.crm.find(caller):
            for lead in found.leads:
                leads.setdefault(str(lead.id), lead)
            for contact in found.contacts:
                contacts.setdefault(str(contact.id), contact)
            newest_first = sorted(leads.values(), key=lambda lead: -lead.order)
            choice = lead_to_add_to(newest_first, known, bool(contacts), switches)
            if isinstance(choice, FoundLead) and (choice.is_open or not (switches.not_while_open or choice.is_hidden)):
                return choice
        if (
            known is not None
            and known not in leads
            and (moved := self.crm.moved(f"{notes.caller_mark(str(e164))} to "))
        ):
            # the lead that stood for this caller is there no more: people merged it into another, and our notes went along
            if moved.kind == self.crm.lead:
                at = replace(caller, known=str(moved.id))
                known_now = (lead for found in self.crm.find(at) for lead in found.leads if str(lead.id) == at.known)
                leads |= {str(lead.id): lead for lead in islice(known_now, 1)}
                newest_first = sorted(leads.values(), key=lambda lead: -lead.order)
                choice = lead_to_add_to(newest_first, moved.id, bool(contacts), switches)
            else:
                contacts.setdefault(str(moved.id), FoundContact(moved.id))
        best = next(iter(sorted(contacts.values(), key=lambda contact: contact.match)), None)
        if self.crm.makes_contacts and choice == "create" and best is not None:
            self.remember({"contact_id": best.id})
        return choice if isinstance(choice, FoundLead) else best if choice == "customer" else None

    def _unwanted(self) -> str | None:
        """Why this call makes no lead by itself, in words."""
        call = self.message.call
        if self.config.get("answered_only") and self.message.outcome != "answered":
            return "no lead: the call was not answered"
        least = int(self.config.get("longer_than") or 0)
        if least and (call.get("duration") or 0) <= least:
            return f"no lead: the call was not longer than {least} s"
        if self.config.get("first_call_only") and call.get("first_call") is False:
            return "no lead: it was not the caller's first call"
        return None

    def _create(self) -> None:
        """Makes the lead. What it names and the CRM does not have (any more) is left out and told: a lead is worth more."""
        person, gone = self.person()
        values, left_out = self.crm.lead_values(self.new_lead(person, self._contact(person)))
        while True:
            try:
                lacking = self._missing(person, gone, left_out)
                made = self._once("lead", lambda: self.crm.create_lead(self.key, values), lacking=lacking)
                break
            except FieldsRefused as refused:
                if person is not None and self.crm.responsible in refused.fields:
                    gone.append((person.named, f"“{person.named}” cannot be responsible in {self.crm.product}"))
                    person, values[self.crm.responsible] = None, None
                    continue
                optional = [name for name in refused.fields if name in values and name not in self.crm.needed]
                if not optional:
                    raise
                for name in optional:
                    del values[name]
                    left_out[name] = refused.fields[name]
        self.made = True
        self.remember(self._lead_step(made))
        with suppress(DeliveryError):  # without it later changes are told in notes alone
            kept = self.crm.read(Record(self.crm.lead, made), list(values))
            written = {name: [_digest(value), _digest(kept.get(name))] for name, value in values.items()}
            self.remember({"written": written, "told": self._told()})

    def _missing(
        self, person: Person | None, gone: list[tuple[str, str]], left_out: Mapping[str, str]
    ) -> dict[str, Any]:
        """The steps that tell people what their settings name and the CRM does not have."""
        owner = person.name if person else "nobody"
        missing = [
            {"what": "manager", "name": name, "why": f"{why}: the lead belongs to {owner}"} for name, why in gone
        ]
        templates = self.config.get("fields") or {}
        for name, words in left_out.items():
            named = str(templates.get(name) or self.config.get(self.crm.setting_of(name)) or "")
            missing.append({"what": name, "name": named, "why": f"The lead was made without {name}: {words}"})
        return {
            "missing": [item for item in missing if item["name"] and not PLACE.search(item["name"])],
            "warning": "; ".join(item["why"] for item in missing) or None,
        }

    def _lead_step(self, made: RecordId) -> dict[str, Any]:
        """With what the attempt that made it had to leave out."""
        lacking = self.steps.get("lacking") or {}
        return {"model": self.crm.lead, "record": made, "lead_id": made, "lacking": None} | lacking

    def _contact(self, person: Person | None) -> RecordId | None:
        e164 = self.message.call["caller"]
        if not self.crm.makes_contacts or not e164:
            return None
        if self.steps.get("contact_id") is None:
            caller = Caller(str(e164), None, self.country)
            made = self._looked_up("contact", lambda: self.crm.create_contact(self.key, caller, person), None)
            self.remember({"contact_id": made})
        contact: RecordId | None = self.steps["contact_id"]
        return contact

    def person(self) -> tuple[Person | None, list[tuple[str, str]]]:
        """The first of the managers whom the CRM has; and those it does not have, each with the reason."""
        gone: list[tuple[str, str]] = []
        for name in dict.fromkeys(filter(None, (manager.strip() for manager in self.message.managers))):
            found = self.crm.person(name)
            if isinstance(found, Person):
                return found, gone
            gone.append((name, found))
        return None, gone

    def new_lead(self, person: Person | None, contact: RecordId | None = None) -> NewLead:
        call = self.message.call
        templates: Mapping[str, str] = self.config.get("fields") or {}
        title = fill(TITLE, self.placeholders) if call["caller"] else "Call with a withheld number"
        source = {name: str(value) for name, value in (call["source"] or {}).items() if value}
        filled = {name: fill(template, self.placeholders).strip() for name, template in templates.items()}
        return NewLead(
            key=self.key,
            phone=call["caller"] or None,
            title=title,
            description=notes.origin(self.message),
            fields={name: text for name, text in filled.items() if text or name not in self.crm.needed},
            source=source,
            responsible=person,
            contact=contact,
        )

    def entry(self) -> CallEntry:
        call = self.message.call
        return CallEntry(
            key=self.key,
            caller=call["caller"] or None,
            number=str(call["number"]),
            started_at=str(call["started_at"]),
            outcome=self.message.outcome,
            duration=int(call["duration"] or 0),
            html=notes.call_note(self.message),
            mark=self.mark,
            recording=notes.recording_page(self.message),
        )

    def _task_or_why(self, record: Record) -> tuple[RecordId | None, str]:
        """The task, or why the CRM takes none: lead and entry are there, and worth more."""
        try:
            return self._task(record), ""
        except RecordGone:
            raise
        except DeliveryError as error:
            if not error.permanent and not (error.refused_account and error.status == 403):
                raise
            self.remember({"begun": {}})
            return None, f"No task was left: {error}"

    def _task(self, record: Record) -> RecordId | None:
        """The task that a missed call, or the call on a lost lead, leaves for the responsible person."""
        reopened = bool(self.steps.get("reopened"))
        is_missed = self.message.outcome in MISSED and bool(self.config.get("callback_task", True))
        if self.steps.get("task_id") or not (reopened or is_missed) or self.message.outcome == BLOCKED:
            return self.steps.get("task_id")
        owner = self.crm.owner(record)
        if owner is None:
            person, _ = self.person()
            owner = person.id if person else None
        if owner is None:
            return None
        caller = self.message.call["caller"] or "a withheld number"
        title = f"Call back {caller}" if is_missed else f"{caller} rang again; this was lost"
        task = Task(self.key, title, notes.task_note(self.message), self.mark, owner, self.placeholders["date"][:10])
        made = self._looked_up("task", lambda: self.crm.add_task(record, task), record)
        self.remember({"task_id": made})
        return made

    # what became known later

    def update(self) -> dict[str, Any]:
        """A recording that came late, a corrected end or source: entered at the record that is there. Never another lead."""
        done: dict[str, Any] = {}
        try:
            record = self._record_of_update()
            if record is None:
                raise Skipped("the CRM has no lead of this caller")
            kept = self._rewrite(record)
            if self.crm.changes_calls:
                done = self._change_call(record, kept)
            else:
                wanted = {notes.essence(self.message): notes.correction_note(self.message)}
                if page := notes.recording_page(self.message):
                    wanted[escape(page)] = notes.recording_note(self.message)
                for line in kept:
                    wanted[escape(line)] = notes.kept_note(self.message, line)
                done = {"notes": [note for mark, html in wanted.items() if (note := self._noted(record, mark, html))]}
        except RecordGone:
            raise Skipped(f"the lead was deleted in {self.crm.product}") from None
        if not any(done.values()) and not self.rewrote:
            raise Skipped("nothing that the CRM shows has changed")
        return {"status": 200} | done

    def _record_of_update(self) -> Record | None:
        for steps in (self.steps, self.message.earlier):
            if steps.get("record"):
                record = Record(str(steps["model"]), steps["record"])
                try:
                    self.crm.owner(record)
                except RecordGone:
                    if (moved := self.crm.moved(self.mark)) is None:
                        raise
                    return moved
                return record
        known = self.message.known_lead
        if not known:
            return None
        record = Record(self.crm.lead, int(known) if known.isdecimal() else known)
        self.crm.owner(record)
        return record

    def _change_call(self, record: Record, kept: list[str]) -> dict[str, Any]:
        call = self.message.earlier.get("note_id") or self.crm.own("call", self.key, self.mark, record)
        entry = self.entry()
        if kept:
            entry = replace(entry, html=entry.html + "".join(notes.kept_note(self.message, line) for line in kept))
        told = _entered(entry)
        if call is None or told == (self.steps.get("entered") or self.message.earlier.get("entered")):
            return {}
        self._changing(lambda: self.crm.change_call(record, call, entry))
        self.remember({"entered": told})
        return {"call": call}

    def _rewrite(self, record: Record) -> list[str]:
        """Changes what this call wrote into its lead, as far as it is still ours; returns what stays as people made it, in sentences."""
        earlier = self.message.earlier
        written: dict[str, list[str]] = {**(earlier.get("written") or {}), **(self.steps.get("written") or {})}
        told = self._told()
        if not written or record.kind != self.crm.lead:
            return []
        if told == (self.steps.get("told") or earlier.get("told")):
            return list(self.steps.get("kept") or ())
        values, _ = self.crm.lead_values(self.new_lead(None, earlier.get("contact_id")))
        new = {name: value for name, value in values.items() if name in written and _digest(value) != written[name][0]}
        new.pop(self.crm.responsible, None)
        now = self.crm.read(record, list(new)) if new else {}
        # what an attempt without an answer may have written: neither asked for again nor taken for a person's
        begun: dict[str, str] = self.steps.get("rewriting") or {}
        ours = {name: value for name, value in new.items() if _digest(now.get(name)) == written[name][1]}
        theirs = [name for name in new if name not in ours and begun.get(name) != _digest(new[name])]
        kept = [
            f"{name} was changed here and stays. From the call it would be: {notes.plain(new[name])}" for name in theirs
        ]
        if ours:
            self.remember({"rewriting": {name: _digest(value) for name, value in ours.items()}})
            self._rewrite_values(record, ours)
            now = self.crm.read(record, list(ours))
        fresh = {name: [_digest(value), _digest(now.get(name)) if name in ours else ""] for name, value in new.items()}
        self.remember({"written": written | fresh, "told": told, "kept": kept, "rewriting": {}})
        self.rewrote = bool(ours)
        return kept

    def _rewrite_values(self, record: Record, values: Mapping[str, Any]) -> None:
        """Without those that the CRM does not take: they stay as they were."""
        left = dict(values)
        while left:
            try:
                return self._changing(partial(self.crm.change, record, left))
            except FieldsRefused as refused:
                self.making = False
                if not any(name in left for name in refused.fields):
                    return None
                left = {name: value for name, value in left.items() if name not in refused.fields}
        return None

    def _told(self) -> str:
        """Changes when something that fills a lead has changed."""
        return _digest([self.message.call["source"], notes.origin(self.message), sorted(self.placeholders.items())])

    # how a step is taken

    def _settled(self, step: str) -> None:
        """
        Raises:
            DeliveryError: an earlier attempt at this step may still be under way.
        """
        begun: Mapping[str, str] = self.steps.get("begun") or {}
        if since := begun.get(step):
            over = datetime.fromisoformat(since) + self.settles_after
            if self.message.now < over:
                wait = (over - self.message.now).total_seconds()
                raise DeliveryError(f"The last attempt may still be under way in {self.crm.product}.", retry_after=wait)

    def _once(self, step: str, make: Callable[[], RecordId], **more: Any) -> RecordId:
        """A step that makes something, marked while it is under way; `more` is remembered with the mark."""
        self.remember({"begun": {step: self.message.now.isoformat()}} | more)
        made = self._making(make)
        self.remember({"begun": {}})
        return made

    def _looked_up(self, step: str, make: Callable[[], RecordId], record: Record | None) -> RecordId:
        """The same, unless an earlier attempt has made it."""
        self._settled(step)
        # a lead of this attempt has no entry yet
        found = None if step == "call" and self.made else self.crm.own(step, self.key, self.mark, record)
        return self._once(step, make) if found is None else found

    def _noted(self, record: Record, mark: str, html: str) -> RecordId | None:
        """A note that is new; None: one with this mark stands there."""
        step = f"note {_digest(mark)}"
        self._settled(step)
        if self.crm.note(record, mark) is not None:
            return None
        return self._once(step, lambda: self.crm.add_note(record, html))

    def _making(self, make: Callable[[], RecordId]) -> RecordId:
        self.making = True
        try:
            made = make()
        except DeliveryError as error:
            if not error.ambiguous:
                self.making = False
                self.remember({"begun": {}})
            raise
        self.making = False
        return made

    def _changing(self, change: Callable[[], None]) -> None:
        """A step that may be repeated: it leads to the same."""
        self.making = True
        change()
        self.making = False


def _entered(entry: CallEntry) -> str:
    """Changes when what the CRM shows of a call has to change."""
    return _digest([entry.html, entry.outcome, entry.duration, entry.recording])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
