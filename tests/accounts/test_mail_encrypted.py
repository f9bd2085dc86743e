"""E-mails over encrypted lines (R4): STARTTLS where it is offered, smtps from the first byte, and never past a wrong certificate."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from router.accounts.mail import address_of, compose
from router.lib.smtp import MailError, may_sign_in, parse_mail_url, send_message
from router.server import utc_now
from tests.people import NOW


def make_certificate(folder: Path) -> ssl.SSLContext:
    """A server's context whose certificate for 127.0.0.1 vouches for itself; it is `cert.pem` in the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = utc_now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


class Box:
    """Notes over what kind of line each message came."""

    def __init__(self) -> None:
        self.encrypted: list[bool] = []

    async def handle_DATA(self, server: Any, _: Any, __: Any) -> str:
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 OK"


class Line(Controller):
    def _trigger_server(self) -> None:
        """Listens already; the port is the system's choice."""
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # None would fail the test
        if self.ssl_context is None:
            super()._trigger_server()
        else:
            self._factory_invoker()


@contextmanager
def listening(**values: Any) -> Iterator[tuple[Box, int]]:
    box = Box()
    line = Line(box, hostname="127.0.0.1", port=0, **values)
    line.start()
    try:
        yield box, line.port
    finally:
        line.stop()


def send(url: str) -> None:
    recipient = address_of("office@shop.example.com")
    mail = SimpleNamespace(subject="Hello", attachment=None, created_at=NOW, key="1:x", body="Hello\n")
    message = compose(mail, address_of("router@example.net"), recipient, "Bye")  # type: ignore[arg-type]  # the address is right
    send_message(parse_mail_url(url), message, "router@example.net", recipient.addr_spec)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificate")


@pytest.fixture(scope="module")
def context(folder: Path) -> ssl.SSLContext:
    return make_certificate(folder)


@pytest.fixture
def trusted(folder: Path, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))


@pytest.mark.usefixtures("trusted")
def test_r4_starttls_is_used_where_it_is_offered(context: ssl.SSLContext) -> None:
    with listening(tls_context=context) as (box, port):
        send(f"smtp://127.0.0.1:{port}")
    assert box.encrypted == [True]


@pytest.mark.usefixtures("trusted")
def test_r4_smtps_is_encrypted_from_the_first_byte(context: ssl.SSLContext) -> None:
    with listening(ssl_context=context) as (box, port):
        send(f"smtps://127.0.0.1:{port}")
    assert box.encrypted == [True]


def test_r4_nothing_is_sent_past_a_certificate_that_nobody_vouches_for(context: ssl.SSLContext) -> None:
    with listening(tls_context=context) as (box, port), pytest.raises(MailError, match="No encrypted line") as caught:
        send(f"smtp://127.0.0.1:{port}")
    assert not caught.value.permanent
    assert box.encrypted == []


def test_r4_a_password_is_not_sent_over_an_open_line_out_of_the_house() -> None:
    assert may_sign_in(True, "198.41.0.4")
    assert not may_sign_in(False, "198.41.0.4")
    assert not may_sign_in(False, "2001:500:200::b")
    assert may_sign_in(False, "10.0.0.7")
    assert may_sign_in(False, "fe80::1%eth0")
