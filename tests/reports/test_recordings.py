"""Recordings are heard by people and programs of their project alone, in pieces, and kept by no cache."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from werkzeug.test import TestResponse

from router.accounts.models import AuditEntry
from router.lib.file_store import FolderStore
from router.reports import recordings
from router.server import Server
from router.voice.models import CallRecording
from router.web.stored_files import LARGEST_PIECE, NotThere, asked_range
from tests.factories import make_call, make_recording
from tests.people import NOW, Cast, bearer, sign_in

SOUND = bytes(range(256)) * 4


@pytest.fixture
def sound(server: Server, cast: Cast, tmp_path: Path) -> dict[str, int]:
    """A kept recording of 1,024 bytes of Alice's; the ids of its call and itself."""
    with server.database.writing() as session:
        call = make_call(session, cast.project)
        kept = {"state": "kept", "store": "folder", "content_type": "audio/wav", "size": len(SOUND), "next_at": None}
        recording = make_recording(session, call, **kept)
        (tmp_path / "sound").write_bytes(SOUND)
        FolderStore(server.settings.data_dir / "recordings").put(recording.file, tmp_path / "sound")
        return {"call": call.id, "recording": recording.id}


def page(sound: dict[str, int], more: str = "") -> str:
    return f"/calls/{sound['call']}/recordings/{sound['recording']}{more}"


def heard(answer: TestResponse) -> tuple[int, bytes, str | None]:
    return answer.status_code, answer.data, answer.headers.get("Content-Range")


@pytest.mark.one_database
def test_a_player_gets_the_pieces_that_it_asks_for(alice: FlaskClient, sound: dict[str, int]) -> None:
    whole = alice.get(page(sound))
    assert heard(whole) == (200, SOUND, None)
    assert (whole.mimetype, whole.headers["Accept-Ranges"]) == ("audio/wav", "bytes")
    assert whole.headers["Cache-Control"] == "private, no-store"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    name = f'filename="call-{sound["call"]}-{sound["recording"]}.wav"'
    assert whole.headers["Content-Disposition"] == f"inline; {name}"
    assert alice.get(page(sound, "?download=1")).headers["Content-Disposition"] == f"attachment; {name}"
    head = alice.head(page(sound))
    assert (head.data, head.headers["Content-Length"]) == (b"", "1024")
    for asked, expected in {
        "bytes=0-": (206, SOUND, "bytes 0-1023/1024"),
        "bytes=0-0": (206, SOUND[:1], "bytes 0-0/1024"),
        "bytes=1000-5000": (206, SOUND[1000:], "bytes 1000-1023/1024"),
        "bytes=-24": (206, SOUND[-24:], "bytes 1000-1023/1024"),
        "bytes=1024-": (416, b"", "bytes */1024"),
        "bytes=0-1,5-9": (200, SOUND, None),
        "seconds=1-2": (200, SOUND, None),
        "bytes=x": (200, SOUND, None),
    }.items():
        assert heard(alice.get(page(sound), headers={"Range": asked})) == expected, asked
    changed = {"Range": "bytes=5-", "If-Range": '"another"'}
    assert alice.get(page(sound), headers=changed).status_code == 200
    same = {"Range": "bytes=5-", "If-Range": whole.headers["ETag"]}
    assert alice.get(page(sound), headers=same).status_code == 206


@given(
    st.integers(1, 3 * LARGEST_PIECE), st.integers(0, 4 * LARGEST_PIECE), st.none() | st.integers(0, 5 * LARGEST_PIECE)
)
def test_a_range_lies_in_the_file_and_ends_after_a_piece(size: int, first: int, last: int | None) -> None:
    header = f"bytes={first}-{'' if last is None else last}"
    try:
        piece = asked_range(header, size)
    except NotThere:
        assert first >= size
        return
    if last is not None and last < first:
        assert piece is None
        return
    assert piece is not None
    start, end = piece
    assert start == first < end <= size
    assert end - start <= LARGEST_PIECE
    assert end == min(size, start + LARGEST_PIECE, size if last is None else last + 1)


@pytest.mark.one_database
def test_nobody_else_hears_it(app: Flask, cast: Cast, sound: dict[str, int], server: Server) -> None:
    """A stranger is sent to sign in, others find nothing; a viewer of the project hears it and deletes nothing."""
    address = f"/api/v1/projects/{cast.project.id}/recordings/{sound['recording']}"
    stranger = app.test_client()
    assert (stranger.get(page(sound)).status_code, stranger.get(address).status_code) == (302, 401)
    charlie = sign_in(app.test_client(), cast.charlie)
    assert charlie.get(page(sound)).status_code == 404
    assert stranger.get(address, headers=bearer(cast.charlie_token)).status_code == 404
    theirs = f"/api/v1/projects/{cast.other_project.id}/recordings/{sound['recording']}"
    assert stranger.get(theirs, headers=bearer(cast.charlie_token)).status_code == 404
    program = stranger.get(address, headers=bearer(cast.bob_token) | {"Range": "bytes=4-7"})
    assert heard(program) == (206, SOUND[4:8], "bytes 4-7/1024")
    bob = sign_in(app.test_client(), cast.bob)
    assert bob.get(page(sound)).data == SOUND
    assert bob.post(page(sound, "/delete")).status_code == 403
    assert "Delete the recording" not in bob.get(f"/calls/{sound['call']}").text
    with server.database.writing() as session:
        other = make_call(session, cast.project)
    assert bob.get(f"/calls/{other.id}/recordings/{sound['recording']}").status_code == 404


@pytest.mark.one_database
def test_r14_it_is_heard_no_more_once_somebody_deletes_it(
    alice: FlaskClient, sound: dict[str, int], server: Server
) -> None:
    assert alice.post(page(sound, "/delete")).status_code == 302
    assert alice.get(page(sound)).status_code == 404
    shown = alice.get(f"/calls/{sound['call']}").text
    assert "<audio" not in shown
    assert "Deleted by alice@example.com." in shown
    with server.database.reading() as session:
        assert session.scalars(select(AuditEntry.action)).all() == ["recording.deleted"]
        assert session.scalars(select(CallRecording.state)).all() == ["removing"]
    assert alice.post(page(sound, "/fetch")).status_code == 409


@pytest.mark.one_database
def test_a_link_opens_the_project_that_it_is_of(app: Flask, cast: Cast, sound: dict[str, int]) -> None:
    olivia = sign_in(app.test_client(), cast.olivia)
    olivia.post(f"/projects/{cast.other_project.id}/open")
    assert olivia.get(f"/calls/{sound['call']}").status_code == 404
    answer = olivia.get(f"/calls/in/{cast.project.id}/{sound['call']}")
    assert answer.headers["Location"] == f"/calls/{sound['call']}#recordings"
    assert "<audio" in olivia.get(f"/calls/{sound['call']}").text


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("waiting", "The carrier did not answer. 3 tries so far, the next one <time"),
        ("failed", "The carrier did not answer. The carrier may have it still."),
        ("removed", "The carrier did not answer."),
    ],
)
@pytest.mark.one_database
def test_a_recording_that_is_not_here_says_why(
    alice: FlaskClient, cast: Cast, server: Server, state: str, said: str
) -> None:
    with server.database.writing() as session:
        call = make_call(session, cast.project)
        why = {"state": state, "attempts": 3, "reason": "The carrier did not answer.", "next_at": NOW}
        recording = make_recording(session, call, is_message=True, **why)
    shown = alice.get(f"/calls/{call.id}").text
    assert said in " ".join(shown.split())
    assert "<audio" not in shown
    assert alice.get(f"/calls/{call.id}/recordings/{recording.id}").status_code == 404
    again = alice.post(f"/calls/{call.id}/recordings/{recording.id}/fetch").status_code
    assert again == (302 if state == "failed" else 409)
    with server.database.reading() as session:
        stored = session.scalars(select(CallRecording)).one()
    assert (stored.state, stored.attempts) == (("waiting", 0) if state == "failed" else (state, 3))


@pytest.mark.one_database
def test_a_file_that_is_not_there_is_no_failure_of_the_server(
    alice: FlaskClient, sound: dict[str, int], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Any:
        return FolderStore(server.settings.data_dir / "nowhere")

    monkeypatch.setattr(recordings, "store_named", gone)
    answer = alice.get(page(sound))
    assert answer.status_code == 503
    assert "cannot be read" in answer.text


@pytest.mark.one_database
def test_metrics_tell_how_many_there_are_and_since_when_one_waits(
    client: FlaskClient, cast: Cast, server: Server
) -> None:
    with server.database.writing() as session:
        call = make_call(session, cast.project)
        for state, minutes in (("kept", None), ("failed", None), ("waiting", 5), ("waiting", -5), ("removed", None)):
            due = None if minutes is None else NOW - timedelta(minutes=minutes)
            make_recording(session, call, state=state, next_at=due)
    told = client.get("/metrics").text
    for line in ('{state="kept"} 1', '{state="failed"} 1', '{state="waiting"} 2'):
        assert f"router_recordings{line}\n" in told
    assert "removed" not in told
    waits = re.search(r"^router_oldest_due_recording_seconds (\d+)", told, re.MULTILINE)
    assert waits
    assert 300 <= int(waits[1]) < 320
