"""Recordings from the carrier's word to their end: fetched whole or not at all, deleted at the carrier once they are kept, and everywhere
when their time is over or their caller is forgotten."""

import errno
import io
import os
import shutil
import stat
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from router.accounts.audit import Actor
from router.accounts.models import Mail, Project
from router.carriers.base import Gone, Recording, TryLater
from router.carriers.simulator import Line, Simulator, VirtualClock
from router.carriers.simulator.call import CallerScript, PhoneCall
from router.carriers.simulator.call import CallRecording as CarriersRecording
from router.carriers.simulator.call_book import CallBook
from router.config import Settings
from router.lib.file_store import incoming
from router.server import Server
from router.voice import recording_jobs
from router.voice.applier import apply_records
from router.voice.calls import call_documents, call_recorded
from router.voice.forgetting import forget_caller
from router.voice.models import Call, CallRecording
from router.voice.recording_jobs import (
    LONGEST_STORE_PAUSE,
    PAUSES,
    STORE_PAUSE,
    advance_recordings,
    expire_recordings,
    look_for_recordings,
)
from router.voice.recordings import LEASE, recording_event, remove_recordings
from router.voice.records import event_record
from router.voice.state import Event
from tests.application import Applications
from tests.carriers.rest import Carrier, running_carrier
from tests.carriers.rest_faults import Fault
from tests.factories import CALLER, NOON, make_call, make_project, make_recording
from tests.properties import examples
from tests.voice.flow_calls import OFFICE, ring
from tests.voice.journals import Heard, calls
from tests.voice.test_whole_flows import NUMBER as EXCHANGES_NUMBER
from tests.voice.test_whole_flows import Exchange

LATER = NOON + timedelta(minutes=5)
VOICEMAIL = {"id": "s2", "type": "voicemail", "mail_to": ["desk@shop.example", "boss@shop.example"]}
FLOW = {"destinations": [], "steps": [{"id": "s1", "type": "menu", "keys": {"1": [VOICEMAIL]}}]}


@pytest.fixture
def carrier(tmp_path: Path, server: Server) -> Iterator[Carrier]:
    """With a recording of 44 s in two channels, and one in one channel."""
    with running_carrier(tmp_path) as running:
        server.shop = running.shop
        server.now = lambda: LATER
        called = PhoneCall(CALLER, "+12125551000", CallerScript(), NOON, running.sid)
        for sid, channels in (("RE0", 2), ("RE1", 1)):
            recording = CarriersRecording("DialVerb", channels, NOON, sid, 44, NOON + timedelta(seconds=60))
            called.recordings.append(recording)
        CallBook(running.account.path).keep(called)
        yield running


def given_call(server: Server, is_message: bool = False, **fields: Any) -> int:
    """An ended call with a recording that the carrier told of; returns the recording's id."""
    with server.database.writing() as session:
        project = session.scalars(select(Project)).first() or make_project(session)
        call = make_call(session, project, **fields)
        return make_recording(session, call, is_message=is_message, step="s2" if is_message else "").id


def only(server: Server, recording_id: int) -> CallRecording:
    with server.database.reading() as session:
        return session.get_one(CallRecording, recording_id)


def files(server: Server) -> list[Path]:
    """Everything that lies in the folder of recordings."""
    return [path for path in (server.settings.data_dir / "recordings").rglob("*") if path.is_file()]


def at_carrier(carrier: Carrier) -> set[str]:
    book = CallBook(carrier.account.path)
    return {sid for sid in ("RE0", "RE1") if book.find_recording(sid)}


def turn(server: Server, at: datetime = LATER) -> int:
    server.now = lambda: at
    return advance_recordings(server, at)


def mails(server: Server) -> list[Mail]:
    with server.database.reading() as session:
        return list(session.scalars(select(Mail).order_by(Mail.recipient)))


def test_a_recording_is_kept_here_and_then_deleted_at_the_carrier(server: Server, carrier: Carrier) -> None:
    recording_id, heard = given_call(server), Heard()
    recorded: list[str] = []

    def hear(sender: object, call: Call, **_: object) -> None:
        recorded.append(call.sid)

    call_recorded.connect(hear)
    assert turn(server) == 1
    recording = only(server, recording_id)
    (file,) = files(server)
    assert recorded == [next(iter(calls(server)))]
    assert (recording.state, recording.size, recording.content_type) == ("kept", file.stat().st_size, "audio/wav")
    with wave.open(io.BytesIO(file.read_bytes())) as sound:
        assert (sound.getnchannels(), sound.getnframes() / sound.getframerate()) == (2, 44)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == stat.S_IMODE(file.parent.parent.stat().st_mode) == 0o700
    assert heard.events == [(next(iter(calls(server))), "updated")]
    assert at_carrier(carrier) == {"RE0", "RE1"}
    assert (turn(server), turn(server)) == (1, 0)
    assert at_carrier(carrier) == {"RE1"}
    recording = only(server, recording_id)
    assert (recording.state, recording.is_at_carrier, recording.next_at) == ("kept", False, None)
    with server.database.reading() as session:
        (document,) = call_documents(server, session, session.scalars(select(Call)))
    told = document["recording"]
    assert (told["state"], told["kind"], told["duration"], told["channels"]) == ("kept", "talk", 44, 2)
    assert told["url"] == f"https://calls.example.net/api/v1/projects/{recording.project_id}/recordings/{recording_id}"
    assert document["recordings"] == [told]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.dead(done=False), "did not answer"),
        (Fault.cut(), "did not come whole"),
        (Fault.html(done=False), "no sound"),
        (Fault.broken(done=False), "500"),
        (Fault.too_many("7"), "too many requests"),
        (Fault.refuses(20003, "Authenticate", status=401), "TWILIO_AUTH_TOKEN"),
        (Fault.refuses(20404, "not found", status=404), "does not have this recording"),
        (Fault("answer", False, status=302, body="", kind="text/plain"), "lies elsewhere"),
        (Fault("answer", False, status=200, body="", kind="audio/x-wav"), "did not come whole"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_what_does_not_come_whole_leaves_nothing_and_is_tried_again(
    server: Server, carrier: Carrier, fault: Fault, words: str
) -> None:
    recording_id = given_call(server)
    carrier.faults.queue("media", fault)
    turn(server)
    recording = only(server, recording_id)
    assert words in recording.reason
    assert (recording.state, recording.next_at, files(server)) == ("waiting", LATER + PAUSES[0], [])
    assert turn(server) == 0
    turn(server, LATER + PAUSES[0])
    assert (only(server, recording_id).state, only(server, recording_id).reason) == ("kept", "")


def test_after_the_last_try_it_is_given_up_and_told(server: Server, carrier: Carrier) -> None:
    recording_id, at = given_call(server), LATER
    carrier.faults.always("media", Fault.broken(done=False))
    heard = Heard()
    pauses = []
    while turn(server, at):
        following = only(server, recording_id).next_at
        if following is None:
            break
        pauses.append(following - at)
        at = following
    assert pauses == sorted(pauses) == list(PAUSES)
    recording = only(server, recording_id)
    assert (recording.state, recording.is_at_carrier, files(server)) == ("failed", True, [])
    assert [event for _, event in heard.events] == ["updated"]


def test_a_disk_that_is_nearly_full_is_left_to_calls(
    server: Server, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = given_call(server)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    at, pauses = LATER, []
    for _ in range(40):
        assert turn(server, at) == 1
        recording = only(server, recording_id)
        assert "belongs to calls" in recording.reason
        assert (recording.state, recording.attempts) == ("waiting", 0)
        assert recording.next_at is not None
        pauses.append(recording.next_at - at)
        at = recording.next_at
    assert STORE_PAUSE <= pauses[0] < timedelta(seconds=30)
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_STORE_PAUSE
    assert carrier.faults.asked == []
    monkeypatch.undo()
    assert turn(server, at) == 1
    assert only(server, recording_id).state == "kept"


def test_one_that_kills_its_worker_comes_to_an_end(server: Server, carrier: Carrier) -> None:
    recording_id = given_call(server)
    with server.database.writing() as session:
        session.get_one(CallRecording, recording_id).attempts = len(PAUSES) + 1
    turn(server)
    assert (only(server, recording_id).state, carrier.faults.asked) == ("failed", [])


class Meddling:
    """The carrier's REST side, where something happens while a file comes."""

    def __init__(self, shop: Any, meanwhile: Callable[[], object]) -> None:
        self._shop, self._meanwhile = shop, meanwhile

    def fetch_recording(self, sid: str, channels: int, sink: Callable[[bytes], object]) -> str:
        kind: str = self._shop.fetch_recording(sid, channels, sink)
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()
        return kind

    def delete_recording(self, sid: str) -> None:
        self._shop.delete_recording(sid)


def test_r14_one_that_is_removed_while_it_is_fetched_is_nowhere_afterwards(server: Server, carrier: Carrier) -> None:
    recording_id = given_call(server)

    def remove() -> None:
        with server.database.writing() as session:
            assert remove_recordings(session, CallRecording.id == recording_id, "No more.", LATER) == 1

    server.shop = Meddling(carrier.shop, remove)  # type: ignore[assignment]  # as much of it as is asked here
    turn(server)
    assert (only(server, recording_id).state, files(server)) == ("removing", [])
    assert turn(server, LATER + LEASE) == 1
    assert (only(server, recording_id).state, only(server, recording_id).reason) == ("removed", "No more.")
    assert at_carrier(carrier) == {"RE1"}


def test_a_worker_that_was_slow_takes_nothing_from_the_one_that_was_not(server: Server, carrier: Carrier) -> None:
    recording_id = given_call(server)
    server.shop = Meddling(carrier.shop, lambda: turn(server, LATER + LEASE))  # type: ignore[assignment]  # as above
    turn(server)
    recording = only(server, recording_id)
    assert (recording.state, recording.kept_at) == ("kept", LATER + LEASE)
    assert [file.stat().st_size for file in files(server)] == [recording.size]


@pytest.mark.parametrize(("is_message", "minutes"), [(True, [1, 2, 4, 8, 15]), (False, [15, 15])])
@pytest.mark.one_database
def test_a_message_whose_worker_died_is_fetched_soon(
    server: Server, carrier: Carrier, monkeypatch: pytest.MonkeyPatch, is_message: bool, minutes: list[int]
) -> None:
    recording_id, at = given_call(server, is_message), LATER
    with monkeypatch.context() as patch:
        patch.setattr(recording_jobs, "_advance", lambda *_: None)
        for lease in minutes:
            assert turn(server, at) == 1
            at += timedelta(minutes=lease)
            assert only(server, recording_id).next_at == at
    assert turn(server, at) == 1
    assert (only(server, recording_id).state, len(mails(server))) == ("kept", int(is_message))


def test_r14_recordings_go_when_the_projects_time_is_over(server: Server, carrier: Carrier) -> None:
    recording_id = given_call(server)
    turn(server)
    ended_at = only(server, recording_id).told_at
    assert expire_recordings(server, ended_at + timedelta(days=89, hours=23)) == 0
    with server.database.writing() as session:
        session.scalars(select(Project)).one().recording_days = 0
    assert expire_recordings(server, NOON + timedelta(days=5000)) == 0
    with server.database.writing() as session:
        session.scalars(select(Project)).one().recording_days = 90
    after = ended_at + timedelta(days=90)
    assert (expire_recordings(server, after), expire_recordings(server, after)) == (1, 0)
    turn(server, after)
    assert (only(server, recording_id).state, files(server), at_carrier(carrier)) == ("removed", [], {"RE1"})


def test_r14_recordings_go_with_their_project(server: Server, carrier: Carrier) -> None:
    recording_id = given_call(server)
    turn(server)
    with server.database.writing() as session:
        session.get_one(CallRecording, recording_id).project_id = 4711  # which is not there any more
    assert expire_recordings(server, LATER) == 1
    turn(server)
    assert (only(server, recording_id).state, files(server)) == ("removed", [])


def test_files_whose_fetching_was_interrupted_do_not_stay(server: Server, carrier: Carrier) -> None:
    incoming(server.settings).mkdir(parents=True)
    old, new = incoming(server.settings) / "old", incoming(server.settings) / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    expire_recordings(server, LATER)
    assert files(server) == [new]


def test_r14_a_forgotten_callers_recordings_go_also_those_that_come_late(server: Server, carrier: Carrier) -> None:
    """Nothing of a late one is fetched, and no message of his is mailed."""
    kept = given_call(server)
    turn(server)
    with server.database.writing() as session:
        project = session.scalars(select(Project)).one()
        assert forget_caller(server, session, project, CALLER, Actor("alice"), LATER).recordings == 1
    sid = only(server, kept).call_sid
    key, event = recording_event(Recording(sid, "RE1", None, "completed", 44, is_message=True), LATER)
    server.journal = None
    with server.database.writing() as session:
        apply_records(server, session, [event_record(sid, key, event, LATER)], LATER, announcing=True)
    asked = len(carrier.faults.asked)
    turn(server)
    with server.database.reading() as session:
        assert {row.state for row in session.scalars(select(CallRecording))} == {"removed"}
    assert (files(server), at_carrier(carrier), mails(server)) == ([], set(), [])
    assert {kind for kind, _ in carrier.faults.asked[asked:]} == {"forget recording"}


def test_a_message_is_mailed_once_to_the_addresses_of_its_step(server: Server, carrier: Carrier) -> None:
    given_call(server, is_message=True, flow=FLOW, source={"source": "google", "medium": "cpc", "campaign": "spring"})
    turn(server)
    turn(server)
    written = mails(server)
    assert [mail.recipient for mail in written] == ["boss@shop.example", "desk@shop.example"]
    mail = written[0]
    assert mail.subject == "Message from +1 415-555-2671"
    for part in ("Called: +1 212-555-1000", "44 s", "google / cpc / spring", "is attached", "/calls/in/1/1#recordings"):
        assert part in mail.body
    (file,) = files(server)
    assert mail.attachment is not None
    assert (mail.attachment["file"], mail.attachment["size"]) == (file.name, file.stat().st_size)


def test_a_message_that_no_disk_takes_is_mailed_without_it_after_two_minutes(
    server: Server, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = given_call(server, is_message=True)
    told_at = only(server, recording_id).told_at
    monkeypatch.setattr(recording_jobs, "private_folder", refuse)
    turn(server, told_at + timedelta(seconds=119))
    assert "Read-only file system" in only(server, recording_id).reason
    assert mails(server) == []
    turn(server, told_at + timedelta(minutes=6))
    assert only(server, recording_id).attempts == 0
    assert mails(server) != []


def refuse(folder: Path) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_message_that_does_not_come_is_mailed_without_it_within_minutes(server: Server, carrier: Carrier) -> None:
    recording_id, at = given_call(server, is_message=True), LATER
    carrier.faults.queue("media", Fault.broken(done=False), times=4)
    while only(server, recording_id).state == "waiting":
        turn(server, at)
        at = only(server, recording_id).next_at or at
    (mail,) = mails(server)
    assert (mail.recipient, mail.attachment) == ("owner@shop.example", None)
    assert mail.created_at < LATER + timedelta(minutes=3)
    assert "could not be fetched from the carrier yet" in mail.body


def test_a_message_that_is_too_large_is_linked_and_an_empty_one_is_none(
    server: Server, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.voice.messages.MOST_ATTACHED", 1000)
    recording_id = given_call(server, is_message=True)
    turn(server)
    (mail,) = mails(server)
    assert mail.attachment is None
    assert "Listen to it here: https://calls.example.net/calls/in/1/1#recordings" in mail.body
    with server.database.writing() as session:
        make_recording(session, session.scalars(select(Call)).one(), sid="RE1", channels=1, is_message=True, seconds=0)
    turn(server)
    assert len(mails(server)) == 1
    assert only(server, recording_id).state == "kept"


def test_what_the_carrier_never_told_of_is_found(server: Server, carrier: Carrier) -> None:
    """Of calls that are ours; what is known already is noted no second time."""
    given_call(server)
    sid = next(iter(calls(server)))
    others = [Recording(sid, "RE0", None, "completed", 44), Recording("CA9", "RE9", None, "completed", 1)]
    told = [*others, Recording(sid, "RE1", None, "completed", 44, is_message=True)]
    assert list(carrier.shop.recordings_between(NOON - timedelta(hours=1), LATER)) != []
    server.shop = SimpleNamespace(recordings_between=lambda *_: iter(told))  # type: ignore[assignment]  # as much as is asked
    assert (look_for_recordings(server, LATER), look_for_recordings(server, LATER)) == (1, 0)
    with server.database.reading() as session:
        noted = session.scalars(select(CallRecording).where(CallRecording.sid == "RE1")).one()
    assert (noted.is_message, noted.state) == (True, "waiting")


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_message_is_known_by_what_follows_it_where_its_own_callback_is_lost(server: Server, carrier: Carrier) -> None:
    with server.database.writing() as session:
        call = make_call(session, make_project(session), flow=FLOW)
    message = {"sid": "RE1", "url": "https://api.example/RE1", "seconds": 44}
    gather = Event("gather", LATER, {"step": "s2.1", "digits": "hangup", "message": message})
    later = recording_event(Recording(call.sid, "RE1", None, "completed", 44, is_message=True), LATER, "s2", 7)
    for key, event in (("gather:s2.1", gather), later):
        with server.database.writing() as session:
            apply_records(server, session, [event_record(call.sid, key, event, LATER)], LATER, announcing=True)
        while turn(server):
            pass
    assert [mail.recipient for mail in mails(server)] == ["boss@shop.example", "desk@shop.example"]
    with server.database.reading() as session:
        assert session.scalars(select(CallRecording.state)).all() == ["kept"]


class Crash(BaseException):
    """The process ends here."""


class Account:
    """A carrier's recordings in memory, of which a test says how each request ends."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.outcomes: list[str] = []

    def _outcome(self) -> str:
        return self.outcomes.pop(0) if self.outcomes else "well"

    def fetch_recording(self, sid: str, channels: int, sink: Callable[[bytes], object]) -> str:
        if sid not in self.held:
            raise Gone("There is none.")
        outcome = self._outcome()
        sink(b"RIFF" * 10)
        if outcome == "fails":
            raise TryLater("Half of it came.")
        if outcome == "crashes":
            raise Crash
        sink(b"data")
        return "audio/wav"

    def delete_recording(self, sid: str) -> None:
        outcome = self._outcome()
        if outcome != "fails":
            self.held.discard(sid)
        if outcome != "well":
            raise Crash if outcome == "crashes" else TryLater("Not now.")


@given(
    st.lists(st.sampled_from(["turn", "turn", "lease", "remove", "crash when kept"]), max_size=8),
    st.lists(st.sampled_from(["well", "fails", "crashes"]), max_size=5),
)
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_r14_nothing_is_lost_before_it_is_kept_and_nothing_stays_of_what_is_removed(
    server: Server, monkeypatch: pytest.MonkeyPatch, steps: list[str], outcomes: list[str]
) -> None:
    """Whatever fails, and wherever a worker dies: the carrier has it until it is whole here or was removed; a removed one is nowhere."""
    shutil.rmtree(server.settings.data_dir / "recordings", ignore_errors=True)
    recording_id, account, at = given_call(server), Account(), LATER
    account.held.add(only(server, recording_id).sid)
    account.outcomes = list(outcomes)
    server.shop = account  # type: ignore[assignment]  # as much of it as is asked here

    def pieces() -> list[int]:
        return [file.stat().st_size for file in files(server) if file.parent != incoming(server.settings)]

    def one_turn() -> None:
        with suppress(Crash):
            turn(server, at)

    for step in steps:
        if step == "lease":
            at += LEASE
        elif step == "remove":
            with server.database.writing() as session:
                remove_recordings(session, CallRecording.id == recording_id, "No more.", at)
        elif step == "crash when kept":
            with monkeypatch.context() as patch:
                patch.setattr(recording_jobs, "write_and_announce", crash)
                one_turn()
        else:
            one_turn()
        state = only(server, recording_id).state
        if state in ("waiting", "kept"):
            assert account.held or (state, pieces()) == ("kept", [44])
    while (following := only(server, recording_id).next_at) is not None:
        at = max(at, following)
        one_turn()
    state = only(server, recording_id).state
    assert (state, account.held, pieces()) in (("kept", set(), [44]), ("removed", set(), []))
    assert state == "removed" or "remove" not in steps


def crash(*_: object) -> None:
    raise Crash


@pytest.mark.one_database
def test_what_is_recorded_in_calls_arrives(settings: Settings, applications: Applications, tmp_path: Path) -> None:
    """A talk with each side in a channel of its own, and a message when nobody answers, from the flow to the file and the e-mail."""
    announced = {"announcement": {"text": "This call is recorded."}}
    mailed = {"type": "voicemail", "prompt": {"text": "After the tone."}, "mail_to": ["desk@shop.example"]}
    with applications.on_a_port(settings) as (_, app), running_carrier(tmp_path) as running:
        server, clock = app.extensions["router"], VirtualClock(NOON)
        server.now = clock.now
        exchange = Exchange(server, settings.twilio_auth_token, clock)
        exchange.use({"steps": [ring(OFFICE, recording=announced), mailed]})
        server.shop, book = running.shop, CallBook(running.account.path)
        for line in (Line.answers(talks=30), Line.rings_out()):
            options: dict[str, Any] = {"book": book, "clock": clock, "lines": {OFFICE: line}}
            simulator = Simulator(server.settings.base_url, server.settings.twilio_auth_token, **options)
            simulator.call(CALLER, EXCHANGES_NUMBER, CallerScript(message=8))
            simulator.close()
        later = clock.now() + timedelta(minutes=1)
        while turn(server, later):
            pass
        with server.database.reading() as session:
            talk, message = session.scalars(select(CallRecording).order_by(CallRecording.is_message))
        assert (talk.state, talk.channels, message.state, message.channels) == ("kept", 2, "kept", 1)
        assert (talk.is_at_carrier, message.is_at_carrier, book.find_recording(talk.sid)) == (False, False, None)
        (mail,) = mails(server)
        assert (mail.recipient, mail.attachment and mail.attachment["size"]) == ("desk@shop.example", message.size)
        assert len(files(server)) == 2
