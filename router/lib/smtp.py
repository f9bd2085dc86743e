"""E-mail addresses, and handing one message to the operator's SMTP server with the standard library's smtplib; every wait is limited."""

import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

from router.lib.texts import plain_text
from router.lib.tls import mail_authorities

WAIT_SECONDS = 10.0
PORTS = {"smtp": 25, "smtps": 465}
ERROR_LENGTH = 300


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where messages are handed in. `tls`: from the first byte; without it STARTTLS is used where it is offered."""

    host: str
    port: int
    tls: bool
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    """The operator's own certificate authorities."""


class MailError(Exception):
    """The message was not taken; the sentence is for people. `permanent`: the same message will never be."""

    def __init__(self, sentence: str, permanent: bool = False) -> None:
        super().__init__(sentence[:ERROR_LENGTH])
        self.permanent = permanent


def is_email_address(text: str, dotless: bool = False) -> bool:
    """Whether `text` is an e-mail address whose domain is written in ASCII. `dotless`: a bare host like `mail` may be its domain.

    Domains of closed networks (`.local`, `.home.arpa`, `.test`) count: this server writes through its operator's own mail server.
    """
    import email_validator  # 40 ms, and only needed where an address is typed in

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    try:
        email_validator.validate_email(text, strict=True, check_deliverability=False, globally_deliverable=not dotless)
    except email_validator.EmailNotValidError:
        return False
    return text.rpartition("@")[2].isascii()


def parse_mail_url(text: str) -> MailServer:
    """The server of `smtp://user:password@host:587` or `smtps://host`; user and password are percent-decoded.

    Raises:
        ValueError: it cannot be used; the sentence holds nothing of what was given, for there is a password in it.
    """
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise ValueError(HOW) from None
    odd = parts.path.strip("/") or parts.query or parts.fragment or any(sign.isspace() for sign in text)
    if scheme not in PORTS or not host or odd or port == 0:
        raise ValueError(HOW)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError("needs a user and a password, or none of them")
    if not (user + password).isascii() or not (user + password).isprintable():
        raise ValueError("can have a user and a password of ASCII signs only")
    return MailServer(host, port or PORTS[scheme], scheme == "smtps", user, password)


HOW = (
    "must be an address like smtp://user:password@mail.example.com:587 or smtps://mail.example.com,"
    " where signs such as / ? # % of the password are percent-encoded"
)


def send_message(server: MailServer, message: EmailMessage, sender: str, recipient: str) -> None:
    """Returns when the server has taken the message. The line is encrypted where the server offers it.

    Raises:
        MailError: it has not, or nobody knows whether it has.
    """
    try:
        if server.tls:
            context = mail_authorities(server.ca_file)
            client: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=WAIT_SECONDS, context=context)
        else:
            client = smtplib.SMTP(server.host, server.port, timeout=WAIT_SECONDS)
        try:
            client.ehlo_or_helo_if_needed()
            encrypted = server.tls
            if not encrypted and client.has_extn("starttls"):
                client.starttls(context=mail_authorities(server.ca_file))
                client.ehlo()
                encrypted = True
            if server.user:
                peer = str(client.sock.getpeername()[0]) if client.sock else ""
                if not may_sign_in(encrypted, peer):
                    raise MailError("The mail server offers no encryption, so the password was not sent to it.")
                client.login(server.user, server.password)
            client.send_message(message, sender, [recipient])
        finally:
            with suppress(OSError, smtplib.SMTPException):
                client.quit()
    # a refused recipient, sender or text is refused for good when the code is 5xx; a refused password can be mended
    except smtplib.SMTPAuthenticationError as error:
        answer = _answer(error.smtp_code, error.smtp_error)
        raise MailError(f"The mail server refused the user or the password ({answer}).") from error
    except smtplib.SMTPRecipientsRefused as error:
        code, reply = next(iter(error.recipients.values()))
        raise MailError(f"The mail server refused the recipient ({_answer(code, reply)}).", code >= 500) from error
    except smtplib.SMTPNotSupportedError as error:
        raise MailError(f"The mail server cannot do what is needed: {error}.", True) from error
    except smtplib.SMTPConnectError as error:
        answer = _answer(error.smtp_code, error.smtp_error)
        raise MailError(f"The mail server does not serve us now ({answer}).") from error
    except smtplib.SMTPResponseException as error:
        answer = _answer(error.smtp_code, error.smtp_error)
        raise MailError(f"The mail server refused the message ({answer}).", 500 <= error.smtp_code < 600) from error
    except smtplib.SMTPServerDisconnected as error:
        raise MailError("The mail server ended the conversation, or did not answer in time.") from error
    except TimeoutError as error:
        raise MailError("The mail server did not answer in time.") from error
    except ssl.SSLError as error:
        raise MailError(f"No encrypted line to the mail server: {error.reason or error}.") from error
    except (OSError, smtplib.SMTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise MailError(f"The mail server cannot be reached: {reason}.") from error


def may_sign_in(encrypted: bool, peer: str) -> bool:
    """Whether a password may be sent: over an encrypted line, or to a private address."""
    return encrypted or ip_address(peer.partition("%")[0]).is_private


def _answer(code: int, reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return " ".join(f"{code} {plain_text(text)}".split())[:200]
