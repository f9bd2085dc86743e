"""R12: `router doctor` says what is wrong, also while the database is away, and mends journals."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import certifi
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from router import doctor as module
from router.accounts.models import ANOTHER_KEY, KEY_FACT, AuditEntry, Project, remember_fact
from router.carriers.base import TryLater
from router.cli import router
from router.doctor import examine
from router.lib.file_store import FileStore, StoreError
from router.operations import key_fits
from router.server import Server
from router.voice.applier import Applier, journal_folder, machine_of
from router.voice.following import routing_of
from router.voice.journal import Journal
from router.voice.models import JournalPosition, SetAsideRecord
from router.voice.snapshot import NEWEST, write_snapshot
from router.worker import HEARTBEAT
from tests.factories import NOON, NUMBER, make_call, make_project, make_recording, make_scenario
from tests.voice.test_applier import calls, count, inbound_at
from tests.voice.test_reconciliation import Books, booked

Doctor = Callable[..., Result]


@pytest.fixture
def healthy(server: Server) -> Server:
    """An installation at which nothing is wrong."""
    server.now = lambda: NOON
    with server.database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER])
        remember_fact(session, HEARTBEAT, (NOON - timedelta(seconds=4)).isoformat(), NOON)
        place = {"machine": "11111111-aaaa", "host": "tel-9", "position": "1:0", "seen_at": NOON}
        session.add(JournalPosition(**place, is_waiting=False, is_stopped=False))
    assert key_fits(server)
    routing_of(server).refresh()
    machine_of(journal_folder(server))
    return server


@pytest.fixture
def doctor(healthy: Server, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.setattr("router.cli.open_server", lambda: healthy)
    return lambda *words: CliRunner().invoke(router, ["doctor", *words])


def wrong(server: Server) -> dict[str, str]:
    return {finding.subject: finding.words for finding in examine(server, server.now()) if finding.is_wrong}


def said(server: Server, subject: str) -> str:
    return next(finding.words for finding in examine(server, server.now()) if finding.subject == subject)


def set_aside(server: Server, record: str = "", position: str = "1:7", reason: str = "ValueError: no") -> int:
    with server.database.writing() as session:
        row = SetAsideRecord(machine="m1", position=position, call_sid="CA7", reason=reason, record=record, at=NOON)
        session.add(row)
        session.flush()
        return row.id


def test_r12_a_healthy_installation_has_nothing_wrong(healthy: Server, doctor: Doctor) -> None:
    done = doctor()
    assert done.exit_code == 0, done.output
    assert wrong(healthy) == {}
    for words in ("GiB free", "heard of 4 seconds ago", "applier of tel-9", "all records are applied", "with 1 number"):
        assert words in done.output


def test_r12_the_database_may_be_away_or_old(healthy: Server, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(journal_folder(healthy))
    journal.append(inbound_at(healthy, "CA1", NOON - timedelta(minutes=3)))
    with healthy.database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert wrong(healthy) == {"schema": "old: run router migrate"}

    def away(_: Any) -> str:
        raise OperationalError("", {}, Exception("gone"))

    monkeypatch.setattr(module, "schema_state", away)
    assert set(wrong(healthy)) == {"database"}
    assert "1 record of the last hour and since, the oldest from 3 minutes ago" in said(healthy, "journal")
    assert "with 1 number" in said(healthy, "routing")
    assert doctor().exit_code == 1


def test_r12_another_key_is_said(healthy: Server) -> None:
    with healthy.database.writing() as session:
        remember_fact(session, KEY_FACT, "another", NOON)
    assert wrong(healthy) == {"key": ANOTHER_KEY}


def test_r12_who_is_silent_is_named(healthy: Server) -> None:
    healthy.now = lambda: NOON + timedelta(minutes=5)
    found = wrong(healthy)
    assert set(found) == {"worker", "applier of tel-9"}
    assert found["worker"] == "heard of 5 minutes ago"
    assert "--forget-machine tel-9" in found["applier of tel-9"]
    with healthy.database.writing() as session:
        session.get_one(JournalPosition, "11111111-aaaa").is_stopped = True
        session.execute(text("DELETE FROM server_fact"))
    assert wrong(healthy) == {"worker": "never seen: start router worker"}
    assert "nothing left to apply" in said(healthy, "applier of tel-9")


def test_r12_records_that_wait_in_this_machines_journal_are_counted(healthy: Server) -> None:
    journal, folder = Journal(journal_folder(healthy)), journal_folder(healthy)
    journal.append(inbound_at(healthy, "CA1", NOON))
    Applier(healthy, folder, resident=False).apply_all()
    assert said(healthy, "journal") == "all records are applied"
    journal.append(inbound_at(healthy, "CA2", NOON))
    journal.append(inbound_at(healthy, "CA3", NOON))
    assert said(healthy, "journal") == "2 records not applied, the oldest from 0 seconds ago"
    assert wrong(healthy) == {}
    with healthy.database.writing() as session:
        session.get_one(JournalPosition, "11111111-aaaa").is_stopped = True
        remember_fact(session, HEARTBEAT, (NOON + timedelta(minutes=9)).isoformat(), NOON)
    healthy.now = lambda: NOON + timedelta(minutes=9)
    assert wrong(healthy) == {"journal": "2 records not applied, the oldest from 9 minutes ago"}


def test_r12_a_machine_without_a_journal_and_a_snapshot_has_nothing_wrong(healthy: Server) -> None:
    (journal_folder(healthy) / "machine").unlink()
    for path in (healthy.settings.data_dir / "routing").iterdir():
        path.unlink()
    assert wrong(healthy) == {}
    assert said(healthy, "journal") == "none on this machine"
    assert not (journal_folder(healthy) / "machine").exists(), "to look makes none"


def test_r12_a_snapshot_that_cannot_follow_or_be_read_is_wrong(healthy: Server) -> None:
    with healthy.database.writing() as session:
        session.execute(text("UPDATE scenario SET title = 'Other'"))
    assert "the database is at version" in said(healthy, "routing")
    assert wrong(healthy) == {}
    with healthy.database.writing() as session:
        session.execute(text("UPDATE routing_version SET installation = '00000000-0000-0000-0000-000000000000'"))
    assert NEWEST in wrong(healthy)["routing"]
    (healthy.settings.data_dir / "routing" / NEWEST).write_bytes(b"nonsense")
    assert "cannot be read" in wrong(healthy)["routing"]


def test_r12_a_restored_database_is_followed_once_that_is_said_to_be_meant(healthy: Server, doctor: Doctor) -> None:
    assert "no later one was seen here" in doctor("--accept-restore").output
    present = routing_of(healthy).snapshot
    assert present
    folder = healthy.settings.data_dir / "routing"
    write_snapshot(folder, replace(present, version=present.version + 5, token="lost"), healthy.keys)
    assert "--accept-restore" in wrong(healthy)["routing"]
    done = doctor("--accept-restore")
    assert done.exit_code == 0, done.output
    assert wrong(healthy) == {}
    healthy.routing = None
    routing_of(healthy).refresh()
    followed = routing_of(healthy).snapshot
    assert followed
    assert f"at version {followed.version} now" in done.output
    with healthy.database.reading() as session:
        assert session.scalars(select(AuditEntry.action)).all() == ["restored database accepted"]
    healthy.routing = None
    write_snapshot(folder, replace(followed, token="lost"), healthy.keys)
    assert "to another state at version" in said(healthy, "routing")
    with healthy.database.writing() as session:
        session.execute(text("UPDATE routing_version SET installation = 'another'"))
    assert "no snapshot of this database" in doctor("--accept-restore").output


def test_r12_a_disk_that_is_nearly_full_is_wrong(healthy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_FREE", 1 << 60)
    assert set(wrong(healthy)) == {"data folder"}


def test_the_file_of_the_operators_own_authorities_has_to_be_readable(healthy: Server, tmp_path: Path) -> None:
    healthy.settings = healthy.settings.model_copy(update={"ca_file": tmp_path / "own.pem"})
    assert "cannot be read" in wrong(healthy)["authorities"]
    (tmp_path / "own.pem").write_text("no certificate")
    assert "holds no certificates" in wrong(healthy)["authorities"]
    (tmp_path / "own.pem").write_bytes(Path(certifi.where()).read_bytes())
    assert wrong(healthy) == {}


def test_r12_a_data_folder_that_cannot_be_written_is_wrong(healthy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "access", lambda *_: False)
    assert "cannot write" in wrong(healthy)["data folder"]


def test_r12_records_that_were_set_aside_are_shown_without_numbers(healthy: Server, doctor: Doctor) -> None:
    row_id = set_aside(healthy, reason="ValueError: +14155550177 is odd")
    done = doctor()
    assert done.exit_code == 1
    assert "1 record could not be applied" in done.output
    assert f"{row_id} " in done.output
    assert "1:7 of m1, call CA7: ValueError: +14…77 is odd" in done.output


def test_r12_what_was_set_aside_is_applied_again_once_its_fault_is_mended(
    healthy: Server, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = journal_folder(healthy)
    journal = Journal(folder)

    def broken(*_: Any) -> Any:
        raise ValueError("a fault of this release")

    with monkeypatch.context() as patched:
        patched.setattr("router.voice.applier.read_call", broken)
        journal.append(inbound_at(healthy, "CA1", NOON))
        Applier(healthy, folder, resident=False).apply_all()
    journal.append({"kind": "leg", "sid": "CA2"})
    Applier(healthy, folder, resident=False).apply_all()
    assert count(healthy, SetAsideRecord) == 2
    done = doctor("--retry")
    assert (done.exit_code, done.output) == (1, "1 record applied, 1 could not be.\n")
    assert set(calls(healthy)) == {"CA1"}
    with healthy.database.reading() as session:
        left = session.scalars(select(SetAsideRecord)).one()
    assert left.call_sid == "CA2"
    assert doctor("--drop", str(left.id)).exit_code == 0
    assert doctor("--retry").output == "0 records applied, 0 could not be.\n"
    assert "no record" in said(healthy, "set aside")
    with healthy.database.reading() as session:
        assert session.scalars(select(AuditEntry.action)).all() == ["set-aside record dropped"]


def test_r12_a_damaged_line_cannot_be_applied_but_be_dropped(healthy: Server, doctor: Doctor) -> None:
    row_id = set_aside(healthy, reason="ValueError: its checksum does not fit")
    for _ in range(2):
        assert doctor("--retry").exit_code == 1
    with healthy.database.reading() as session:
        assert session.get_one(SetAsideRecord, row_id).reason == "ValueError: its checksum does not fit"
    assert doctor("--drop", str(row_id)).exit_code == 0
    done = doctor("--drop", str(row_id))
    assert (done.exit_code, f"no record {row_id}" in done.output) == (1, True)


def test_r12_a_machine_that_is_lost_for_good_is_waited_for_no_more(healthy: Server, doctor: Doctor) -> None:
    books = Books([booked("CA1")])
    healthy.shop = books  # type: ignore[assignment]  # of the shop only what is asked here
    assert "is at work" in doctor("--forget-machine", "tel-9").output
    healthy.now = lambda: NOON + timedelta(hours=2, minutes=30)
    assert "No machine is called tel-8" in doctor("--forget-machine", "tel-8").output
    done = doctor("--forget-machine", "tel-9")
    assert done.exit_code == 0, done.output
    assert "heard of last 2 hours ago" in done.output
    assert "missing here: 1 call" in done.output
    assert "router reconcile --since 4h" in done.output
    assert calls(healthy) == {}
    with healthy.database.reading() as session:
        assert session.get_one(JournalPosition, "11111111-aaaa").is_stopped
        assert session.scalars(select(AuditEntry.action)).all() == ["machine forgotten"]
    assert "nobody waits for it" in doctor("--forget-machine", "tel-9").output


def test_r12_a_machine_is_named_by_its_id_where_hosts_are_called_alike(healthy: Server, doctor: Doctor) -> None:
    healthy.shop = Books(error=TryLater("The carrier was not reached."))  # type: ignore[assignment]  # a stand-in
    with healthy.database.writing() as session:
        place = {"machine": "22222222-bbbb", "host": "tel-9", "position": "1:0", "seen_at": NOON}
        session.add(JournalPosition(**place, is_waiting=False, is_stopped=False))
    healthy.now = lambda: NOON + timedelta(hours=1)
    done = doctor("--forget-machine", "tel-9")
    assert (done.exit_code, "11111111-aaaa, 22222222-bbbb" in done.output) == (1, True)
    assert "Another machine" in doctor("--forget-machine", "2222").output
    assert "not known. The carrier was not reached." in doctor("--forget-machine", "1111").output


def test_recordings_that_somebody_has_to_look_at_are_told(
    healthy: Server, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
) -> None:
    assert "recordings kept" not in doctor().output
    with healthy.database.writing() as session:
        call = make_call(session, session.scalars(select(Project)).one(), sid="CA7")
        for state, attempts, hours in (
            ("kept", 0, 100),
            ("kept", 20, 100),
            ("waiting", 1, 0),
            ("waiting", 5, 2),
            ("failed", 11, 100),
            ("removed", 20, 100),
        ):
            told_at = NOON - timedelta(hours=hours)
            make_recording(session, call, state=state, attempts=attempts, told_at=told_at, reason=f"{state} {hours}.")
    assert said(healthy, "recordings").startswith(f"2 recordings kept; new ones in {healthy.settings.data_dir}")
    found = {subject: words for subject, words in wrong(healthy).items() if subject.startswith("  ")}
    assert set(found) == {"  failed", "  waiting", "  kept"}
    assert found["  failed"].startswith(
        "1 could not be fetched; once the reason is gone: router doctor --fetch-recordings"
    )
    assert found["  waiting"] == "1 wait to be fetched since an hour or longer; the first is of call CA7: waiting 2."
    assert "1 are kept, and could not be deleted" in found["  kept"]

    assert "fetches 1 recording again" in doctor("--fetch-recordings").output
    assert "  failed" not in wrong(healthy)
    with healthy.database.writing() as session:
        place = {"machine": "22222222-bbbb", "host": "tel-10", "position": "1:0", "seen_at": NOON}
        session.add(JournalPosition(**place, is_waiting=False, is_stopped=False))
    assert "set ROUTER_S3_BUCKET" in wrong(healthy)["recordings"]

    def away(_: object) -> FileStore:
        raise StoreError("The bucket cannot be asked: no route.")

    monkeypatch.setattr(module, "store_of", away)
    assert said(healthy, "recordings") == "2 recordings kept; The bucket cannot be asked: no route."
