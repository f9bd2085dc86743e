"""Plays a call from its first request to its last callback: verb after verb, document after document. <Dial> rings up to ten destinations
at once or in turn, lets one of them talk, and reports every leg."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import phonenumbers

from router.carriers.simulator.call import CallError, Element, Leg, Line, PhoneCall
from router.carriers.simulator.recordings import Recorder
from router.carriers.simulator.stage import CallerGone, Document, Stage, duration_values

RING_SECONDS = 30
LEAST_RING_SECONDS = 5
MOST_RING_SECONDS = 600
LONGEST_TALK = 14400
SECONDS_TO_RING = 1.0
OUTCOMES = {"answers": "in-progress", "busy": "busy", "fails": "failed"}
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
        self._url = document.url
        self._caller_id = dial.attributes.get("callerId") or stage.call.caller
        self._owned = owned
        self._lines = lines
        self._recorder: Recorder | None = None
        self._recorded: dict[str, str] = {}
        self._ringing: list[Ringing] = []

    def run(self) -> dict[str, str]:
        """Rings and lets talk; returns what the action is told.

        Raises:
            CallerGone: after every leg has been ended and reported. `values` tells what the action is told then.
        """
        if not self._dial.flag("answerOnBridge"):
            self._stage.answer()
        try:
            groups = [list(self._dial.children)]
            if self._dial.flag("sequential"):
                groups = [[noun] for noun in self._dial.children]
            for group in groups:
                winner = self._ring([self._leg(noun) for noun in group])
                if winner is not None:
                    self._connect(winner)
                    break
        except CallerGone:
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
            button = self._stage.wait(stop)
            if button is not None:  # a person at the company's side decides what a ringing line does
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
        while (button := stage.wait(end)) is not None:
            if button.what == "hang_up" and button.leg == ringing.leg.sid:
                break
        stage.hangs_up_at = None
        self._move(ringing, "completed")

    def _hear(self, ringing: Ringing, document: Document) -> bool:
        """Plays a whisper to the side that answered; False when it is not connected after that."""
        for verb in document.verbs:
            if verb.name == "Hangup":
                return False
            if verb.name not in ("Say", "Play", "Pause", "Gather"):
                raise CallError(13201, f"<{verb.name}> is not allowed in a whisper")
            self._stage.pause(2)
            if not ringing.line.hears_out:
                return False
            if verb.name == "Gather" and ringing.line.digits:
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


APOLOGY = "We're sorry, an application error has occurred. Goodbye."
LETTERS_PER_SECOND = 15
PLAY_SECONDS = 5


@dataclass(frozen=True)
class Addresses:
    """What is configured for a number of the simulated carrier: where it asks, and how."""

    voice: str
    fallback: str
    status: str
    voice_method: str = "POST"
    fallback_method: str = "POST"
    status_method: str = "POST"


class HangUp(Exception):
    """Our side ends the call."""


class Player:
    """Plays one call."""

    def __init__(self, stage: Stage, addresses: Addresses, lines: Mapping[str, Line], owned: set[str]) -> None:
        self._stage = stage
        self._call = stage.call
        self._addresses = addresses
        self._lines = lines
        self._owned = owned
        self._unanswered = "completed"
        self._fallen_back = False

    def run(self) -> None:
        """Plays the call to its end, whatever happens in it; then the number's status callback and all that is late."""
        stage, where = self._stage, self._addresses
        try:
            document = self._next("inbound", where.voice, where.voice, {}, where.voice_method)
            while document is not None:
                following = (self._play(verb, document) for verb in document.verbs)
                document = next(filter(None, following), None)
        except CallerGone:
            self._hung_up()
        except HangUp:
            pass
        self._end()
        stage.flush()

    def _hung_up(self) -> None:
        """The caller has hung up: the call's last state is clear, its end is reported now or after the action."""
        call, after = self._call, self._stage.faults.after_hang_up
        call.caller_hung_up = True
        self._unanswered = after.status
        if after.status_first or self._stage.faults.parallel:
            self._end()
        else:
            call.status = "completed" if call.answered_at else after.status

    def _end(self) -> None:
        """Reports the end of the call to the number's status callback, once."""
        call, stage, where = self._call, self._stage, self._addresses
        if call.ended_at is not None:
            return
        call.ended_at = stage.clock.now()
        call.status = "completed" if call.answered_at else self._unanswered
        stage.hangs_up_at = None
        stage.keep()
        values = stage.parent_values(**stage.progress_values(0), **duration_values(call.seconds))
        stage.callback("status", where.status, where.status, values, where.status_method)

    def _next(self, kind: str, base: str, url: str, more: dict[str, str], method: str = "POST") -> Document | None:
        """The next document; when there is none, the fallback's; when that fails too, the caller hears an apology."""
        try:
            return self._stage.fetch(kind, base, url, self._stage.parent_values(**more), method)
        except CallError as error:
            self._call.errors.append(str(error))
            if self._fallen_back:
                self._stage.answer()
                self._call.heard.append(APOLOGY)
                raise HangUp from None
            self._fallen_back = True
            values = {"ErrorCode": str(error.code), "ErrorUrl": url}
            where = self._addresses
            return self._next("fallback", where.fallback, where.fallback, values, where.fallback_method)

    def _play(self, verb: Element, document: Document) -> Document | None:
        """Plays a verb; the document that it leads to, None: the next verb of this one follows."""
        stage, call = self._stage, self._call
        match verb.name:
            case "Say":
                stage.answer()
                call.heard.append(verb.text)
                stage.pause(max(1, len(verb.text) / LETTERS_PER_SECOND))
            case "Play":
                stage.answer()
                call.heard.append(f"♪ {verb.text}")
                stage.pause(PLAY_SECONDS)
            case "Pause":
                if document.verbs[0] is not verb:  # a pause as the first verb delays the answer
                    stage.answer()
                stage.pause(verb.seconds("length", 1))
            case "Dial":
                return self._dial(verb, document)
            case "Gather":
                return self._gather(verb, document)
            case "Record":
                return self._record(verb, document)
            case "Redirect":
                method = verb.attributes.get("method", "POST")
                return self._next("redirect", document.url, verb.text or document.url, {}, method)
            case "Reject":
                if call.answered_at is None:  # an answered call just ends
                    self._unanswered = "busy" if verb.attributes.get("reason") == "busy" else "no-answer"
                raise HangUp
            case "Hangup":
                raise HangUp
        return None

    def _dial(self, verb: Element, document: Document) -> Document | None:
        dialing = Dialing(self._stage, verb, document, self._lines, self._owned)
        action = verb.attributes.get("action")
        method = verb.attributes.get("method", "POST")
        try:
            result = dialing.run()
        except CallerGone:
            self._hung_up()
            if action and self._stage.faults.after_hang_up.asks_action:
                self._ask_in_vain("action", document, action, dialing.values(), method)
            raise
        self._unanswered = result["DialCallStatus"]
        if action is None:
            return None
        return self._next("action", document.url, action, result, method)

    def _ask_in_vain(self, kind: str, document: Document, url: str, more: dict[str, str], method: str) -> None:
        """The action is asked although nobody is there any more; its document is not played."""
        try:
            self._stage.fetch(kind, document.url, url, self._stage.parent_values(**more), method)
        except CallError as error:
            self._call.errors.append(str(error))

    def _gather(self, verb: Element, document: Document) -> Document | None:
        self._stage.answer()
        for child in verb.children:
            self._play(child, document)
        # the keys that the caller presses: up to the finishing key or the number asked for; none after a silence
        finish, most = verb.attributes.get("finishOnKey", "#"), verb.seconds("numDigits", 100)
        if not self._call.digits:
            self._stage.pause(verb.seconds("timeout", 5))
        pressed, _, rest = self._call.digits.partition(finish) if finish else (self._call.digits, "", "")
        digits, self._call.digits = pressed[:most], pressed[most:] + rest
        if not digits and not verb.flag("actionOnEmptyResult"):
            return None
        action = verb.attributes.get("action", document.url)
        return self._next("gather", document.url, action, {"Digits": digits}, verb.attributes.get("method", "POST"))

    def _record(self, verb: Element, document: Document) -> Document | None:
        """A voicemail. The caller hangs up after the message; silence alone goes on with the next verb."""
        self._stage.answer()
        self._call.heard.append("beep")
        seconds = self._call.script.message
        if seconds <= 0:
            self._stage.pause(verb.seconds("timeout", 5))
            return None
        longest = verb.seconds("maxLength", 3600)
        gone = seconds < longest
        recorder = Recorder(self._stage, verb, document.url, "RecordVerb")
        try:
            self._stage.pause(min(seconds, longest))
        except CallerGone:
            gone = True
        recording = recorder.stop()
        action = verb.attributes.get("action", document.url)
        method = verb.attributes.get("method", "POST")
        if not gone:
            return self._next("record", document.url, action, recording, method)
        self._hung_up()
        self._ask_in_vain("record", document, action, recording | {"Digits": "hangup"}, method)
        raise CallerGone
