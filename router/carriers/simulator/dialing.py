"""<Dial> of a simulated call: rings up to ten destinations at once or in turn, lets one of them talk, and reports every leg."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import phonenumbers

from router.carriers.simulator.call import Button, Leg, Line, PhoneCall
from router.carriers.simulator.recordings import Recorder
from router.carriers.simulator.stage import CallerGone, Document, Redirected, Stage, duration_values
from router.carriers.simulator.twiml import CallError, Element

RING_SECONDS = 30
LEAST_RING_SECONDS = 5
MOST_RING_SECONDS = 600
LONGEST_TALK = 14400
SECONDS_TO_RING = 1.0
OUTCOMES = {"answers": "in-progress", "busy": "busy", "fails": "failed"}
DETECTION_SECONDS = 30
HUMAN_SECONDS = 2.5
MACHINES = {"Enable": ("machine_start", 4.0), "DetectMessageEnd": ("machine_end_beep", 9.0)}
BUTTON_STATES = {"answer": "in-progress", "busy": "busy", "no_answer": "no-answer", "hang_up": "busy"}


@dataclass(frozen=True)
class Ringing:
    """A leg with its noun and the script of who sits at its end."""

    leg: Leg
    noun: Element
    line: Line


@dataclass(frozen=True)
class Event:
    moment: datetime
    ringing: Ringing
    status: str


class Dialing:
    """One <Dial> of one document. `lines` says who sits where; `owned` are further numbers that may be shown as caller."""

    def __init__(
        self, stage: Stage, dial: Element, document: Document, lines: Mapping[str, Line], owned: set[str]
    ) -> None:
        self._stage = stage
        self._dial = dial
        self._is_first = bool(document.verbs) and document.verbs[0] is dial
        self._url = document.url
        self._caller_id = dial.attributes.get("callerId") or stage.call.caller
        self._owned = owned
        self._lines = lines
        self._recorder: Recorder | None = None
        self._recorded: dict[str, str] = {}
        self._ringing: list[Ringing] = []
        self._is_left = False

    def run(self) -> dict[str, str]:
        """Rings and lets talk; returns what the action is told.

        Raises:
            CallerGone, Redirected: after every leg has been ended and reported. `values` tells what the action is told then.
        """
        if not (self._dial.flag("answerOnBridge") and self._is_first):
            self._stage.answer()
        try:
            groups = [list(self._dial.children)]
            if self._dial.flag("sequential"):
                groups = [[noun] for noun in self._dial.children]
            for group in groups:
                winner = self._ring([self._leg(noun) for noun in group])
                if winner is not None:
                    self._connect(winner)
                if winner is not None or self._is_left:
                    break
        except (CallerGone, Redirected):
            self._stage.hangs_up_at = None
            for ringing in self._ringing:
                self._move(ringing, "completed" if ringing.leg.answered_at else "canceled")
            raise
        finally:
            if self._recorder is not None:
                self._recorded = self._recorder.stop()
        return self.values()

    def values(self) -> dict[str, str]:
        legs = [ringing.leg for ringing in self._ringing]
        # one status for all legs: who was connected counts first, then who rang longest
        states = {leg.status for leg in legs}
        status = next((word for word in ("completed", "canceled", "no-answer", "busy") if word in states), "failed")
        values = {"DialCallStatus": status, "DialBridged": str(any(leg.bridged for leg in legs)).lower()}
        reported = next((leg for leg in legs if leg.answered_at), legs[-1] if legs else None)
        if reported is not None:
            values["DialCallSid"] = reported.sid
        if reported is not None and reported.answered_at:
            values["DialCallDuration"] = str(reported.seconds)
        return values | self._recorded

    def _leg(self, noun: Element) -> Ringing:
        leg = Leg(noun.text, noun.name, self._caller_id)
        self._stage.call.legs.append(leg)
        ringing = Ringing(leg, noun, self._lines.get(noun.text) or self._lines["*"])
        self._ringing.append(ringing)
        try:
            check_noun(noun)
            check_caller_id(noun, self._dial.attributes.get("callerId"), self._stage.call, self._owned)
        except CallError as error:
            leg.error = str(error)
            leg.status, leg.began_at = "failed", self._stage.clock.now()
            leg.ended_at = leg.began_at
            self._stage.call.errors.append(str(error))
            self._stage.keep()
        return ringing

    def _ring(self, group: list[Ringing]) -> Ringing | None:
        """Rings a group at once until somebody answers, all are over, or the time is."""
        seconds = self._dial.seconds("timeout", RING_SECONDS)
        seconds = min(max(seconds, LEAST_RING_SECONDS), MOST_RING_SECONDS)
        deadline = self._stage.after(seconds + self._stage.faults.ring_buffer)
        agenda: list[Event] = []
        for ringing in group:
            line = ringing.line
            if ringing.leg.over:
                continue
            if line.answer in ("answers", "rings"):
                agenda.append(Event(self._stage.after(min(SECONDS_TO_RING, line.after)), ringing, "ringing"))
            if line.answer in OUTCOMES:
                agenda.append(Event(self._stage.after(line.after), ringing, OUTCOMES[line.answer]))
        for ringing in group:
            if not ringing.leg.over:
                ringing.leg.began_at = self._stage.clock.now()
                self._move(ringing, "initiated")
        while any(not ringing.leg.over for ringing in group):
            agenda = sorted((event for event in agenda if not event.ringing.leg.over), key=lambda event: event.moment)
            stop = min([deadline] + [event.moment for event in agenda[:1]])
            button = self._wait(stop)
            if self._is_left:
                self._move_all(group, "canceled")
            elif button is not None:  # a person at the company's side decides what a ringing line does
                for ringing in group:
                    if ringing.leg.sid == button.leg and not ringing.leg.over and button.what in BUTTON_STATES:
                        self._move(ringing, BUTTON_STATES[button.what])
            elif agenda and agenda[0].moment <= stop:
                event = agenda.pop(0)
                self._move(event.ringing, event.status)
            else:
                self._move_all(group, "no-answer")
            winner = next((ringing for ringing in group if ringing.leg.answered_at), None)
            if winner is not None:
                self._move_all([ringing for ringing in group if ringing is not winner], "canceled")
                return winner
        return None

    def _connect(self, ringing: Ringing) -> None:
        """The whisper to the side that answered, then the talk."""
        stage, call = self._stage, self._stage.call
        self._detect_machine(ringing)
        url, connected = ringing.noun.attributes.get("url"), True
        if url:
            method = ringing.noun.attributes.get("method", "POST")
            values = stage.leg_values(ringing.leg, self._caller_id)
            try:
                connected = self._hear(ringing, stage.fetch("whisper", self._url, url, values, method))
            except CallError as error:
                call.errors.append(str(error))
                connected = False
        if not connected:
            self._move(ringing, "completed")
            return
        ringing.leg.bridged = True
        call.bridged_at = stage.clock.now()
        stage.answer()
        record = self._dial.attributes.get("record", "").replace("true", "record-from-answer")
        if record.startswith("record-from-"):
            leg, channels = ringing.leg, 2 if record.endswith("-dual") else 1
            began_at = leg.began_at if record.startswith("record-from-ringing") else leg.answered_at
            self._recorder = Recorder(stage, self._dial, self._url, "DialVerb", channels, began_at)
        talks = call.script.talks
        stage.hangs_up_at = None if talks is None else stage.after(talks)
        longest = min(self._dial.seconds("timeLimit", LONGEST_TALK), LONGEST_TALK)
        end = stage.after(longest if ringing.line.talks is None else min(longest, ringing.line.talks))
        while (button := self._wait(end)) is not None and not self._is_left:
            if button.what == "hang_up" and button.leg == ringing.leg.sid:
                break
        stage.hangs_up_at = None
        self._move(ringing, "completed")

    def _wait(self, until: datetime) -> Button | None:
        """What somebody does, or None once it is `until`. With `hangupOnStar` the caller's star leaves this <Dial>."""
        stage = self._stage
        stage.heeds_keys = self._dial.flag("hangupOnStar")
        try:
            button = stage.wait(until)
        finally:
            stage.heeds_keys = False
        self._is_left = button is not None and not button.leg and "*" in button.digits
        if self._is_left:
            stage.call.digits = stage.call.digits.replace("*", "")
        return button

    def _detect_machine(self, ringing: Ringing) -> None:
        """Who answered is told some seconds later, while the call goes on
        (https://www.twilio.com/docs/voice/answering-machine-detection)."""
        attributes, line = ringing.noun.attributes, ringing.line
        way = attributes.get("machineDetection")
        if way is None:
            return
        answered_by, seconds = "human", HUMAN_SECONDS
        if line.machine:
            answered_by, seconds = MACHINES[way]
        longest = ringing.noun.seconds("machineDetectionTimeout", DETECTION_SECONDS)
        if seconds > longest or (line.talks is not None and seconds > line.talks):
            answered_by, seconds = "unknown", min(seconds, longest, line.talks or longest)
        values = {
            "AccountSid": self._stage.call.account_sid,
            "CallSid": ringing.leg.sid,
            "AnsweredBy": answered_by,
            "MachineDetectionDuration": str(round(seconds * 1000)),
        }
        method = attributes.get("amdStatusCallbackMethod", "POST")
        url = attributes.get("amdStatusCallback")
        self._stage.callback("detection", self._url, url, values, method, seconds)

    def _hear(self, ringing: Ringing, document: Document) -> bool:
        """Plays a whisper to the side that answered; False when it is not connected after that."""
        for verb in document.verbs:
            if verb.name == "Hangup":
                return False
            if verb.name not in ("Say", "Play", "Pause", "Gather"):
                raise CallError(13201, f"<{verb.name}> is not allowed in a whisper")
            for spoken in (verb, *verb.children):
                if spoken.name == "Play" and spoken.text:
                    self._stage.fetch_sound(document.url, spoken.text)
            self._stage.pause(2)
            if not ringing.line.hears_out:
                return False
            if verb.name == "Gather" and (ringing.line.digits or verb.flag("actionOnEmptyResult")):
                action = verb.attributes.get("action", document.url)
                values = self._stage.leg_values(ringing.leg, self._caller_id, Digits=ringing.line.digits)
                return self._hear(ringing, self._stage.fetch("whisper", document.url, action, values))
        return True

    def _move(self, ringing: Ringing, status: str) -> None:
        """Gives a leg its next status, unless it is over, and reports that when the noun asks for it."""
        leg, attributes, now = ringing.leg, ringing.noun.attributes, self._stage.clock.now()
        if leg.over:
            return
        leg.status, event = status, status
        more: dict[str, str] = {}
        if status == "in-progress":
            leg.answered_at, event = now, "answered"
        elif status not in ("initiated", "ringing"):
            leg.ended_at, event = now, "completed"
            more = duration_values(leg.seconds)
        self._stage.keep()
        values = self._stage.leg_values(leg, self._caller_id, **self._stage.progress_values(leg.sequence), **more)
        leg.sequence += 1
        if event in attributes.get("statusCallbackEvent", "completed").split():
            method = attributes.get("statusCallbackMethod", "POST")
            self._stage.callback("leg", self._url, attributes.get("statusCallback"), values, method)

    def _move_all(self, group: list[Ringing], status: str) -> None:
        for ringing in group:
            self._move(ringing, status)


def check_noun(noun: Element) -> None:
    """
    Raises:
        CallError: nobody can be reached there (13223, 13224, 13254).
    """
    if noun.name == "Sip":
        if not re.match(r"sips?:[^@\s]+@[^@\s]+$", noun.text):
            raise CallError(13254, f"{noun.text!r} is not a SIP address")
        return
    try:
        number = phonenumbers.parse(noun.text, "US")
    except phonenumbers.NumberParseException:
        raise CallError(13223, f"{noun.text!r} is not a phone number") from None
    if not phonenumbers.is_valid_number(number):
        raise CallError(13224, f"{noun.text} is not a valid phone number")


def check_caller_id(noun: Element, caller_id: str | None, call: PhoneCall, owned: set[str]) -> None:
    """
    Raises:
        CallError: 13214, the caller that should be shown is neither the dialled number, nor the caller, nor owned.
    """
    if caller_id is None:
        return
    if noun.name == "Sip" and re.fullmatch(r"[A-Za-z0-9+\-_.]+", caller_id):
        return
    if caller_id not in {call.to, call.caller} | owned or not re.fullmatch(r"\+[1-9][0-9]{6,14}", caller_id):
        raise CallError(13214, f"{caller_id!r} may not be shown as caller")
