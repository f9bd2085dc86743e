"""Recordings of a simulated call: from the verb that starts one to its file and the callbacks about it."""

from datetime import datetime
from email.utils import format_datetime

from router.carriers.simulator.call import CallRecording
from router.carriers.simulator.stage import Stage
from router.carriers.simulator.twiml import Element


class Recorder:
    """A recording that runs since `began_at`, by default from now on.

    `source` is `DialVerb`, `RecordVerb` or `StartCallRecordingTwiML`; `verb` names its callbacks, relative to the address `base` of its
    document.
    """

    def __init__(
        self,
        stage: Stage,
        verb: Element,
        base: str,
        source: str,
        channels: int = 1,
        began_at: datetime | None = None,
    ) -> None:
        self._stage = stage
        self._verb = verb
        self._base = base
        self._recording = CallRecording(source, channels, began_at or stage.clock.now())
        stage.call.recordings.append(self._recording)
        stage.keep()
        self._report("in-progress", {})

    def stop(self, trimmed: float = 0.0) -> dict[str, str]:
        """Ends the recording, without so many seconds at its end, and reports it once its file is there.

        Returns:
            what an action is told of it.
        """
        stage, recording = self._stage, self._recording
        recording.seconds = round((stage.clock.now() - recording.began_at).total_seconds() - trimmed)
        recording.ready_at = stage.after(stage.faults.recording_takes)
        stage.keep()
        values = {
            "RecordingSid": recording.sid,
            "RecordingUrl": stage.recording_url(recording),
            "RecordingDuration": str(recording.seconds),
            "RecordingSource": recording.source,
        }
        self._report("completed", values, stage.faults.recording_takes)
        return values

    def _report(self, status: str, more: dict[str, str], seconds: float = 0.0) -> None:
        attributes, stage, recording = self._verb.attributes, self._stage, self._recording
        if status not in attributes.get("recordingStatusCallbackEvent", "completed").split():
            return
        values = {
            "AccountSid": stage.call.account_sid,
            "CallSid": stage.call.sid,
            "RecordingSid": recording.sid,
            "RecordingUrl": stage.recording_url(recording),
            "RecordingStatus": status,
            "RecordingTrack": attributes.get("recordingTrack") or attributes.get("track") or "both",
            "RecordingChannels": str(recording.channels),
            "RecordingStartTime": format_datetime(recording.began_at),
            "RecordingSource": recording.source,
        }
        url, method = attributes.get("recordingStatusCallback"), attributes.get("recordingStatusCallbackMethod", "POST")
        stage.callback("recording", self._base, url, values | more, method, seconds)
