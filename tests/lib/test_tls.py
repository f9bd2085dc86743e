"""ROUTER_CA_FILE: certificates that the operator's own authorities signed are believed beside those of the public ones."""

import socket
import ssl
from email.message import EmailMessage
from pathlib import Path

import certifi
import pytest

from router.config import Settings, read_settings
from router.lib.http_client import ConnectionFailed, Outgoing
from router.lib.smtp import MailError, send_message
from router.lib.tls import bundle_file, fault_of, trusted_authorities
from tests.lib.test_http_client import LOOPBACK, certificate, raw_server, resolves_to


def talk_tls(server_side: ssl.SSLContext, answer: bytes) -> object:
    def talk(connection: socket.socket) -> None:
        with server_side.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(answer)

    return talk


def test_a_certificate_of_the_operators_own_authority_is_believed(tmp_path: Path) -> None:
    server_side, _ = certificate("crm.example", tmp_path)
    talk = talk_tls(server_side, b"HTTP/1.1 204 No Content\r\n\r\n")
    own = tmp_path / "host.pem"
    for ca_file, is_believed in ((own, True), (None, False), (tmp_path / "away.pem", False)):
        client = Outgoing(LOOPBACK, resolver=resolves_to("127.0.0.1"), tls=trusted_authorities(ca_file))
        with raw_server(talk) as url:  # type: ignore[arg-type] # a function of the connection
            address = f"https://crm.example:{url.rsplit(':', 1)[1]}"
            if is_believed:
                assert client.post(address, b"", {}).status == 204
            else:
                with pytest.raises(ConnectionFailed):
                    client.post(address, b"", {})


def test_mozillas_authorities_are_believed_beside_it(tmp_path: Path) -> None:
    certificate("crm.example", tmp_path)
    usual, own = trusted_authorities(), trusted_authorities(tmp_path / "host.pem")
    assert own.cert_store_stats()["x509"] == usual.cert_store_stats()["x509"] + 1
    bundle = Path(bundle_file(tmp_path / "host.pem")).read_bytes()
    assert bundle.startswith(Path(certifi.where()).read_bytes())
    assert ssl.create_default_context(cadata=bundle.decode("ascii", "ignore")).cert_store_stats()["x509"] > 100


def test_the_mail_server_may_have_such_a_certificate(tmp_path: Path) -> None:
    server_side, _ = certificate("localhost", tmp_path)
    message = EmailMessage()
    message.set_content("Hello")

    def hang_up(connection: socket.socket) -> None:
        with server_side.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(b"554 not now\r\n")
            secure.recv(100)

    for ca_file, words in ((tmp_path / "host.pem", "does not serve us now"), (None, "No encrypted line")):
        with raw_server(hang_up) as url:
            address = f"smtps://localhost:{url.rsplit(':', 1)[1].strip('/')}"
            server = Settings(mail_url=address, ca_file=ca_file).mail_server
            assert server is not None
            with pytest.raises(MailError, match=words):
                send_message(server, message, "a@example.com", "b@example.com")


def test_what_is_wrong_with_the_file_is_said(tmp_path: Path) -> None:
    certificate("crm.example", tmp_path)
    assert fault_of(tmp_path / "host.pem") is None
    assert "No such file" in str(fault_of(tmp_path / "away.pem"))
    (tmp_path / "text.pem").write_text("no certificates\n")
    assert "holds no certificates" in str(fault_of(tmp_path / "text.pem"))
    assert fault_of(tmp_path)
    assert read_settings({"ROUTER_CA_FILE": "/etc/own.pem"}).ca_file == Path("/etc/own.pem")
