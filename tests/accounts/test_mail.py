"""E-mails (R4): written once, handed to a real SMTP server on loopback at least once, given up with their reason kept."""

import email
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from sqlalchemy import select

from router.accounts.mail import LEASE, NO_SERVER, PAUSES, send_mails, write_mail
from router.accounts.models import Mail, Project
from router.config import Settings, SettingsError, read_settings
from router.db import Database
from router.lib.file_store import FolderStore
from router.lib.smtp import parse_mail_url
from router.server import Server
from tests.factories import make_project
from tests.people import ALICES_SHOP, NOW

PASSWORD = "p/w?#%@: ~"
ENCODED = "p%2Fw%3F%23%25%40%3A%20~"


pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


@dataclass
class Postbox:
    """What the SMTP server took. `answers` are given to the next messages, then they are taken."""

    taken: list[Message] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    refuse_recipient: str = ""
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, ___: Any) -> str:
        if self.refuse_recipient:
            return self.refuse_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.taken.append(email.message_from_bytes(envelope.content, policy=default))
        self.recipients += envelope.rcpt_tos
        return "250 OK"

    def authenticate(self, _: Any, __: Any, ___: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


class OnAFreePort(Controller):
    """Asks the system for the port, and learns it before it looks whether it listens."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # None would fail the test
        super()._trigger_server()


@contextmanager
def smtp_server(**values: Any) -> Iterator[tuple[Postbox, int]]:
    box = Postbox()
    if values.get("auth_required"):
        values |= {"authenticator": box.authenticate, "auth_require_tls": False}
    controller = OnAFreePort(box, hostname="127.0.0.1", port=0, ready_timeout=10, **values)
    controller.start()
    try:
        yield box, controller.port
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Postbox, int]]:
    with smtp_server() as found:
        yield found


@pytest.fixture
def box(running: tuple[Postbox, int]) -> Postbox:
    box = running[0]
    box.__init__()  # type: ignore[misc]  # it begins anew
    return box


@pytest.fixture
def office(settings: Settings, server: Server, running: tuple[Postbox, int]) -> Server:
    return with_mail(server, f"smtp://127.0.0.1:{running[1]}")


def with_mail(server: Server, url: str, **values: Any) -> Server:
    """The same server with a mail server and a clock that stands still."""
    changed = Settings(**(server.settings.model_dump() | {"mail_url": url} | values))
    return replace(server, settings=changed, now=lambda: NOW)


def write(database: Database, key: str = "zero:1", body: str = "Top it up.\n", **values: Any) -> bool:
    with database.writing() as session:
        project = session.scalars(select(Project)).first() or make_project(session, **(ALICES_SHOP | values))
        return write_mail(session, project, key, "The balance is used up", body, NOW)


def only(database: Database) -> Mail:
    with database.reading() as session:
        return session.scalars(select(Mail)).one()


def at(server: Server, now: datetime) -> int:
    server.now = lambda: now
    return send_mails(server, now)


def test_r4_an_email_reaches_the_projects_address_once(office: Server, box: Postbox) -> None:
    assert write(office.database)
    assert not write(office.database)
    assert send_mails(office, NOW) == 1
    assert send_mails(office, NOW + timedelta(days=9)) == 0
    (message,) = box.taken
    assert box.recipients == ["office@shop.example.com"]
    assert message["From"] == "router@calls.example.net"
    assert message["To"] == "office@shop.example.com"
    assert message["Subject"] == "The balance is used up"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()  # type: ignore[attr-defined]  # its policy makes an EmailMessage
    assert text.startswith("Top it up.")
    assert "Written for Alice's Shop by the call tracking server at https://calls.example.net." in text
    mail = only(office.database)
    assert (mail.sent_at, mail.next_at, mail.attempts, mail.error) == (NOW, None, 1, "")


def test_r4_what_is_refused_for_now_is_sent_later_under_the_same_message_id(office: Server, box: Postbox) -> None:
    write(office.database)
    box.answers = ["451 Try again later"]
    assert send_mails(office, NOW) == 0
    mail = only(office.database)
    assert (mail.sent_at, mail.next_at) == (None, NOW + PAUSES[0])
    assert "451 Try again later" in mail.error
    assert at(office, NOW + PAUSES[0] - timedelta(seconds=1)) == 0
    assert at(office, NOW + PAUSES[0]) == 1
    mail = only(office.database)
    assert (mail.sent_at, mail.attempts, mail.error) == (NOW + PAUSES[0], 2, "")
    with office.database.writing() as session:  # sent, and killed before it was written down
        again = session.get_one(Mail, mail.id)
        again.sent_at, again.next_at = None, NOW
    assert at(office, NOW + timedelta(hours=1)) == 1
    assert len({message["Message-ID"] for message in box.taken}) == 1
    assert len({message["Date"] for message in box.taken}) == 1
    assert len(box.taken) == 2


@pytest.mark.parametrize("where", ["recipient", "message"])
def test_r4_what_is_refused_for_good_is_given_up_at_once(office: Server, box: Postbox, where: str) -> None:
    write(office.database)
    if where == "recipient":
        box.refuse_recipient = "550 No such mailbox"
    else:
        box.answers = ["554 No thanks"]
    assert send_mails(office, NOW) == 0
    mail = only(office.database)
    assert (mail.sent_at, mail.next_at, mail.attempts) == (None, None, 1)
    assert ("550 No such mailbox" if where == "recipient" else "554 No thanks") in mail.error
    assert at(office, NOW + timedelta(days=9)) == 0


def test_r4_one_that_is_refused_does_not_hold_up_the_next(office: Server, box: Postbox) -> None:
    write(office.database, "one")
    write(office.database, "two")
    box.answers = ["554 No thanks"]
    assert send_mails(office, NOW) == 1


def test_r4_a_dead_server_is_tried_with_growing_pauses_and_then_given_up(server: Server) -> None:
    office = with_mail(server, "smtp://127.0.0.1:1")
    write(office.database)
    now, pauses = NOW, []
    while True:
        assert at(office, now) == 0
        mail = only(office.database)
        if mail.next_at is None:
            break
        pauses.append(mail.next_at - now)
        now = mail.next_at
    assert tuple(pauses) == PAUSES
    assert list(PAUSES) == sorted(PAUSES)
    assert mail.attempts == len(PAUSES) + 1
    assert "cannot be reached" in mail.error


def test_r4_others_wait_while_the_server_is_dead(server: Server) -> None:
    office = with_mail(server, "smtp://127.0.0.1:1")
    for key in ("one", "two"):
        write(office.database, key)
    send_mails(office, NOW)
    with office.database.reading() as session:
        assert sorted(session.scalars(select(Mail.attempts))) == [0, 1]


def test_r4_a_process_that_died_while_sending_loses_its_claim(office: Server, box: Postbox) -> None:
    write(office.database)
    with office.database.writing() as session:
        mail = session.scalars(select(Mail)).one()
        mail.attempts, mail.next_at = 1, NOW + LEASE
    assert at(office, NOW + LEASE - timedelta(seconds=1)) == 0
    assert at(office, NOW + LEASE) == 1
    assert only(office.database).attempts == 2


def test_r4_one_that_kills_every_worker_comes_to_an_end(office: Server, box: Postbox) -> None:
    write(office.database)
    with office.database.writing() as session:
        session.scalars(select(Mail)).one().attempts = len(PAUSES) + 1
    assert send_mails(office, NOW) == 0
    assert only(office.database).next_at is None
    assert box.taken == []


def test_r4_without_a_mail_server_it_is_kept_and_logged_and_never_sent(server: Server) -> None:
    write(server.database, body="Number +14155550121 is in grace.")
    with structlog.testing.capture_logs() as logs:
        assert send_mails(server, NOW) == 0
    assert [one["event"] for one in logs] == ["mail_not_sent"]
    mail = only(server.database)
    assert (mail.sent_at, mail.next_at, mail.attempts, mail.error) == (None, None, 0, NO_SERVER)
    assert send_mails(server, NOW + timedelta(days=1)) == 0


def test_r4_user_and_password_are_percent_decoded(server: Server) -> None:
    with smtp_server(auth_required=True) as (box, port):
        office = with_mail(server, f"smtp://sender%40example.com:{ENCODED}@127.0.0.1:{port}")
        write(office.database)
        assert send_mails(office, NOW) == 1
        assert box.logins == [(b"sender@example.com", PASSWORD.encode())]


def test_r4_a_refused_password_can_be_mended(server: Server) -> None:
    with smtp_server(auth_required=True) as (box, port):
        office = with_mail(server, f"smtp://sender:wrong@127.0.0.1:{port}")
        write(office.database)
        assert send_mails(office, NOW) == 0
        mail = only(office.database)
        assert mail.next_at == NOW + PAUSES[0]
        assert "refused the user or the password" in mail.error
        assert "wrong" not in mail.error
        mended = with_mail(server, f"smtp://sender:{ENCODED}@127.0.0.1:{port}")
        assert at(mended, NOW + PAUSES[0]) == 1
        assert len(box.taken) == 1


def test_nobody_puts_a_header_into_a_message(office: Server, box: Postbox) -> None:
    with office.database.writing() as session:
        project = make_project(session, **ALICES_SHOP)
        subject = "Shop\r\nBcc: thief@example.org\n\nHello\0"
        assert write_mail(session, project, "odd", subject, ".\r\nMAIL FROM:<x>\r\n.\r\nend", NOW)
    assert send_mails(office, NOW) == 1
    (message,) = box.taken
    assert message["Subject"] == "Shop Bcc: thief@example.org Hello"
    assert message["Bcc"] is None
    assert box.recipients == ["office@shop.example.com"]


def test_an_address_that_no_message_can_be_sent_to_is_given_up(office: Server, box: Postbox) -> None:
    write(office.database, "zero:1")
    with office.database.writing() as session:
        session.scalars(select(Mail)).one().recipient = "o'brien+shop:sales@shop.example.com"
    assert send_mails(office, NOW) == 1
    assert box.taken[0]["To"].addresses[0].addr_spec == '"o\'brien+shop:sales"@shop.example.com'
    with office.database.writing() as session:
        mail = session.scalars(select(Mail)).one()
        mail.recipient, mail.sent_at, mail.next_at = "nobody\n@x", None, NOW
    assert send_mails(office, NOW) == 0
    assert only(office.database).next_at is None


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com", "http://mail.example.com", "smtp://", "smtp://u:secret@host:99999", "smtp://u:sec/ret@host",
        "smtp://u:secret@host:0", "smtp://u:secret@host/x", "smtp://u:secret@host?x=1", "smtp://u:sec#ret@host",
        "smtp://u:secret@[::1", "smtp://u@host", "smtp://:secret@host", "smtp://u:sec ret@host", "smtp://u:\u2100@host",
        "smtp://u:%C3%BCsec@host", "smtp://u:sec%0Aret@host",
    ],
)  # fmt: skip
def test_a_mail_url_that_cannot_be_used_stops_the_start_without_telling_the_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"ROUTER_MAIL_URL": url})
    assert str(caught.value).startswith("ROUTER_MAIL_URL: ")
    assert "sec" not in str(caught.value).replace("percent-encoded", "")
    assert caught.value.__cause__ is None


def test_mail_urls_that_can_be_used() -> None:
    found = parse_mail_url(f"smtps://me:{ENCODED}@mail.example.com")
    assert (found.host, found.port, found.tls, found.user, found.password) == (
        "mail.example.com", 465, True, "me", PASSWORD,
    )  # fmt: skip
    assert PASSWORD not in repr(found)
    assert parse_mail_url("smtp://[::1]:2525").port == 2525
    assert parse_mail_url("smtp://mail").port == 25
    for bad in (
        "nobody\r\nBcc: x@y",
        "nobody",
        "@mail",
        "ü@example.com",
        "Router <router@example.com>",
        "a b@example.com",
    ):
        with pytest.raises(SettingsError, match="ROUTER_MAIL_FROM"):
            read_settings({"ROUTER_MAIL_FROM": bad})
    for good in ("calls@example.com", "calls@mail", "calls@localhost", "Calls+1@office.local"):
        assert read_settings({"ROUTER_MAIL_FROM": good}).mail_sender == good
    assert Settings(public_url="http://127.0.0.1:8000").mail_sender == "router@[127.0.0.1]"
    assert Settings(public_url="https://calls.example.net/x").mail_sender == "router@calls.example.net"


def test_a_file_comes_along_if_it_is_there_still(office: Server, box: Postbox, tmp_path: Path) -> None:
    """Nobody waits for a file that was deleted meanwhile, and an e-mail may go to another address than the project's."""
    store = FolderStore(office.settings.data_dir / "recordings")
    (tmp_path / "sound").write_bytes(b"RIFF1234")
    store.put("ab12", tmp_path / "sound")
    file = {"store": "folder", "file": "ab12", "size": 8, "name": "message-1.wav", "content_type": "audio/wav"}
    with office.database.writing() as session:
        project = make_project(session, **ALICES_SHOP)
        for key in ("one", "two"):
            assert write_mail(session, project, key, "M", "See here.", NOW, recipient="desk@x.example", attachment=file)
    with office.database.writing() as session:
        session.scalars(select(Mail).where(Mail.key.endswith("two"))).one().next_at = NOW + timedelta(hours=1)
    assert send_mails(office, NOW) == 1
    store.remove("ab12")
    assert at(office, NOW + timedelta(hours=1)) == 1
    box.answers = ["552 That is too large."]
    with office.database.writing() as session:
        assert write_mail(session, project, "three", "M", "See here.", NOW, attachment=file)
    assert [at(office, NOW + timedelta(hours=2)) for _ in range(3)] == [0, 1, 0]
    whole, bare, refused = box.taken
    assert "could not be attached" in refused.get_content()  # type: ignore[attr-defined]  # its policy makes an EmailMessage
    assert box.recipients[:2] == ["desk@x.example", "desk@x.example"]
    (attached,) = whole.iter_attachments()  # type: ignore[attr-defined]  # as in `get_content`
    assert (attached.get_content(), attached.get_filename()) == (b"RIFF1234", "message-1.wav")
    assert attached.get_content_type() == "audio/wav"
    assert not list(bare.iter_attachments())  # type: ignore[attr-defined]  # its policy makes an EmailMessage
    assert "could not be attached" in bare.get_content()  # type: ignore[attr-defined]  # its policy makes an EmailMessage
