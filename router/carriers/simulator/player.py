"""Plays a call from its first request to its last callback: verb after verb, document after document."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urljoin

from router.carriers.simulator.call import Line, new_sid
from router.carriers.simulator.dialing import Dialing
from router.carriers.simulator.recordings import Recorder
from router.carriers.simulator.stage import CallerGone, Document, Redirected, Stage, duration_values
from router.carriers.simulator.twiml import CallError, Element

APOLOGY = "We're sorry, an application error has occurred. Goodbye."
LETTERS_PER_SECOND = 15
PLAY_SECONDS = 5
MOST_LOOPS = 1000
GATHER_SECONDS = 5
RECORD_SILENCE_SECONDS = 5
LONGEST_MESSAGE = 3600
LONGEST_WAIT = 4 * 3600
WAITING_VERBS = ("Say", "Play", "Pause", "Gather", "Redirect", "Leave", "Hangup")
"""What a document may hold that is played to a caller in a queue."""


@dataclass(frozen=True)
class Addresses:
    """What is configured for a number of the simulated carrier: where it asks, and how."""

    voice: str
    fallback: str
    status: str
    sms: str = ""
    voice_method: str = "POST"
    fallback_method: str = "POST"
    status_method: str = "POST"
    sms_method: str = "POST"


class HangUp(Exception):
    """Our side ends the call."""


class Left(Exception):
    """The caller leaves the queue in which he waits."""


class Player:
    """Plays one call."""

    def __init__(self, stage: Stage, addresses: Addresses, lines: Mapping[str, Line], owned: set[str]) -> None:
        self._stage = stage
        self._call = stage.call
        self._addresses = addresses
        self._lines = lines
        self._owned = owned
        self._unanswered = "completed"
        self._recorders: dict[str, Recorder] = {}

    def run(self) -> None:
        """Plays the call to its end, whatever happens in it; then the number's status callback and all that is late."""
        stage, where = self._stage, self._addresses
        try:
            document: Document | None = self._next("inbound", where.voice, where.voice, {}, where.voice_method)
            while document is not None:
                here = document
                try:
                    following = (self._play(verb, here) for verb in here.verbs)
                    document = next(filter(None, following), None)
                except Redirected as redirected:  # what was done is left as it is, and no action is asked
                    document = self._next("redirected", here.url, redirected.url, {})
        except CallerGone:
            self._hung_up()
        except (HangUp, Left):
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
        for name in list(self._recorders):
            self._stop_recording(name)
        call.ended_at = stage.clock.now()
        call.status = "completed" if call.answered_at else self._unanswered
        stage.hangs_up_at = None
        stage.keep()
        values = stage.parent_values(**stage.progress_values(0), **duration_values(call.seconds))
        stage.callback("status", where.status, where.status, values, where.status_method)

    def _next(self, kind: str, base: str, url: str, more: dict[str, str], method: str = "POST") -> Document:
        """The next document; when there is none, the fallback's."""
        try:
            return self._stage.fetch(kind, base, url, self._stage.parent_values(**more), method)
        except CallError as error:
            return self._fall_back(error, urljoin(base, url))

    def _fall_back(self, failed: CallError, url: str) -> Document:
        """The document of the fallback address; without one the caller hears an apology."""
        where, call = self._addresses, self._call
        call.errors.append(str(failed))
        values = self._stage.parent_values(ErrorCode=str(failed.code), ErrorUrl=url)
        try:
            return self._stage.fetch("fallback", where.fallback, where.fallback, values, where.fallback_method)
        except CallError as error:
            call.errors.append(str(error))
            self._stage.answer()
            call.heard.append(APOLOGY)
            raise HangUp from None

    def _play(self, verb: Element, document: Document) -> Document | None:
        """Plays a verb; the document that it leads to, None: the next verb of this one follows."""
        stage, call = self._stage, self._call
        match verb.name:
            case "Dial":
                return self._dial(verb, document)
            case "Gather":
                return self._gather(verb, document)
            case "Record":
                return self._record(verb, document)
            case "Enqueue":
                return self._enqueue(verb, document)
            case "Redirect":
                method = verb.attributes.get("method", "POST")
                return self._next("redirect", document.url, verb.text or document.url, {}, method)
            case "Pause":
                if document.verbs[0] is not verb:  # a pause as the first verb delays the answer
                    stage.answer()
                stage.pause(verb.seconds("length", 1))
            case "Start" | "Stop":
                self._start_or_stop(verb, document)
            case "Leave":
                raise Left
            case "Reject":
                if call.answered_at is None:  # an answered call just ends
                    self._unanswered = "busy" if verb.attributes.get("reason") == "busy" else "no-answer"
                raise HangUp
            case "Hangup":
                raise HangUp
            case _:
                if verb.name == "Play" and verb.text:
                    try:
                        stage.fetch_sound(document.url, verb.text)
                    except CallError as error:
                        return self._fall_back(error, urljoin(document.url, verb.text))
                self._say_or_play(verb)
        return None

    def _say_or_play(self, verb: Element) -> None:
        """A loop of 0 goes on a thousand times. A key that is heeded ends it."""
        stage = self._stage
        stage.answer()
        if verb.name == "Say":
            self._call.heard.append(verb.text)
            seconds = max(1, len(verb.text) / LETTERS_PER_SECOND)
        else:
            self._call.heard.append(f"♪ {verb.text or verb.attributes['digits']}")
            seconds = PLAY_SECONDS
        stage.pause(seconds * (verb.seconds("loop", 1) or MOST_LOOPS))

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
        """The keys that the caller presses, also into what is said; silence alone goes on with the next verb."""
        stage, call = self._stage, self._call
        stage.answer()
        reads_keys = "dtmf" in verb.attributes.get("input", "dtmf").split()
        stage.heeds_keys = reads_keys and verb.attributes.get("bargeIn") != "false"
        known = len(call.digits)
        try:
            for child in verb.children:
                is_heard = not stage.heeds_keys or len(call.digits) == known
                if is_heard and (following := self._play(child, document)):
                    return following
        finally:
            stage.heeds_keys = False
        digits, finished_on = self._keys(verb) if reads_keys else ("", "")
        if not reads_keys:
            stage.pause(self._silence(verb))
        if not digits and not verb.flag("actionOnEmptyResult"):
            return None
        values = {"Digits": digits, "FinishedOnKey": finished_on, "msg": "Gather End"}
        action, method = verb.attributes.get("action", document.url), verb.attributes.get("method", "POST")
        return self._next("gather", document.url, action, values, method)

    def _keys(self, verb: Element) -> tuple[str, str]:
        """Keys up to the number asked for, the finishing key or a silence; and the finishing key, if it was pressed."""
        finish, most = verb.attributes.get("finishOnKey", "#"), verb.seconds("numDigits", 0)
        digits = ""
        while self._call.digits or self._stage.listen(self._silence(verb)):
            key, self._call.digits = self._call.digits[0], self._call.digits[1:]
            if key == finish:
                return digits, key
            digits += key
            if len(digits) == most:
                break
        return digits, ""

    def _silence(self, verb: Element) -> int:
        """Seconds after which a <Gather> expects nothing more."""
        return GATHER_SECONDS if verb.attributes.get("timeout") == "auto" else verb.seconds("timeout", GATHER_SECONDS)

    def _record(self, verb: Element, document: Document) -> Document | None:
        """A voicemail. It ends when the caller hangs up, presses a finishing key or stays silent, or at its longest; silence alone goes on
        with the next verb."""
        stage, script = self._stage, self._call.script
        stage.answer()
        if verb.attributes.get("playBeep") != "false":
            self._call.heard.append("beep")
        silence = verb.seconds("timeout", RECORD_SILENCE_SECONDS)
        if script.message <= 0:
            stage.pause(silence)
            return None
        longest = verb.seconds("maxLength", LONGEST_MESSAGE)
        finishing = verb.attributes.get("finishOnKey", "1234567890*#")
        ended, trimmed, is_gone = "", 0.0, False
        recorder = Recorder(stage, verb, document.url, "RecordVerb")
        try:
            ended = self._finishing_key(min(script.message, longest), finishing)
            if not ended and script.message < longest:
                ended = script.after_message
                is_gone = ended == "hangup"
                if not is_gone and (not ended or ended not in finishing):
                    ended = self._finishing_key(min(silence, longest - script.message), finishing)
                    trimmed = 0.0 if verb.attributes.get("trim") == "do-not-trim" or ended else silence
        except CallerGone:
            ended, is_gone = "hangup", True
        recording = recorder.stop(trimmed) | ({"Digits": ended} if ended else {})
        action, method = verb.attributes.get("action", document.url), verb.attributes.get("method", "POST")
        if not is_gone:
            return self._next("record", document.url, action, recording, method)
        self._hung_up()
        self._ask_in_vain("record", document, action, recording, method)
        raise CallerGone

    def _finishing_key(self, seconds: float, finishing: str) -> str:
        """The first key within so many seconds that ends a recording; empty when there is none."""
        until = self._stage.after(seconds)
        while self._stage.listen((until - self._stage.clock.now()).total_seconds()):
            key, self._call.digits = self._call.digits[-1], self._call.digits[:-1]
            if key in finishing:
                return key
        return ""

    def _start_or_stop(self, verb: Element, document: Document) -> None:
        """Recordings run beside what follows, until they are stopped or the call ends; of streams nothing is sent."""
        for noun in verb.children:
            if noun.name == "Recording":
                name, channels = noun.attributes.get("name", ""), 1 if noun.attributes.get("channels") == "mono" else 2
                self._stop_recording(name)
                if verb.name == "Start":
                    recorder = Recorder(self._stage, noun, document.url, "StartCallRecordingTwiML", channels)
                    self._recorders[name] = recorder

    def _stop_recording(self, name: str) -> None:
        if name in self._recorders:
            self._recorders.pop(name).stop()

    def _enqueue(self, verb: Element, document: Document) -> Document | None:
        """The caller waits, hears what `waitUrl` says, again and again, until that lets him leave; nobody fetches him."""
        stage, began_at = self._stage, self._stage.clock.now()
        stage.answer()
        action, method = verb.attributes.get("action"), verb.attributes.get("method", "POST")
        queue = {"QueueSid": new_sid("QU")}

        def result(word: str) -> dict[str, str]:
            seconds = round((stage.clock.now() - began_at).total_seconds())
            return queue | {"QueueResult": word, "QueueTime": str(seconds)}

        try:
            return self._wait_in_queue(verb, document, queue, began_at)
        except Left:
            return self._next("action", document.url, action, result("leave"), method) if action else None
        except CallerGone:
            self._hung_up()
            if action:
                self._ask_in_vain("action", document, action, result("hangup"), method)
            raise

    def _wait_in_queue(
        self, verb: Element, document: Document, queue: dict[str, str], began_at: datetime
    ) -> Document | None:
        """
        Returns:
            what the call goes on with when the wait cannot.

        Raises:
            Left: by <Leave>.
        """
        stage, url = self._stage, verb.attributes.get("waitUrl")
        if url is None:
            stage.pause(LONGEST_WAIT)
            return None
        method = verb.attributes.get("waitUrlMethod", "POST")
        while True:
            seconds = round((stage.clock.now() - began_at).total_seconds())
            size = {"QueuePosition": "1", "CurrentQueueSize": "1", "AvgQueueTime": "0", "QueueTime": str(seconds)}
            waiting: Document | None = None
            try:
                values = stage.parent_values(**queue, **size)
                waiting = stage.fetch("wait", document.url, url, values, method)
            except CallError as error:
                return self._fall_back(error, urljoin(document.url, url))
            while waiting is not None:
                unknown = next((one.name for one in waiting.verbs if one.name not in WAITING_VERBS), None)
                if unknown:
                    return self._fall_back(CallError(12200, f"<{unknown}> is not known in a queue"), waiting.url)
                playing = waiting
                following = (self._play(one, playing) for one in playing.verbs)
                waiting = next(filter(None, following), None)
