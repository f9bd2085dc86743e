"""Plays a call from its first request to its last callback: verb after verb, document after document."""

from collections.abc import Mapping
from dataclasses import dataclass

from router.carriers.simulator.call import Line
from router.carriers.simulator.dialing import Dialing
from router.carriers.simulator.recordings import Recorder
from router.carriers.simulator.stage import CallerGone, Document, Stage, duration_values
from router.carriers.simulator.twiml import CallError, Element

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
