"""Whose certificates are believed in outgoing connections: those of Mozilla's list (e-mail: of the system's), and the operator's own
(ROUTER_CA_FILE)."""

import ssl
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import structlog

log = structlog.get_logger(__name__)


@cache
def trusted_authorities(ca_file: Path | None = None) -> ssl.SSLContext:
    """Mozilla's list and the operator's own, read once in a process: to read them takes longer than a request. A file that cannot be read
    is left out, and the log and `router doctor` say so."""
    import httpx

    return _with_own(httpx.create_ssl_context(trust_env=False), ca_file)


def mail_authorities(ca_file: Path | None = None) -> ssl.SSLContext:
    """The system's and the operator's own."""
    return _with_own(ssl.create_default_context(), ca_file)


def bundle_file(ca_file: Path) -> str:
    """The path of a file with Mozilla's list and the operator's own, for libraries that take a file alone."""
    return str(_bundle(ca_file).name)


def fault_of(ca_file: Path) -> str | None:
    """Why the file cannot be used; None: it can."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
    except ssl.SSLError:
        return f"{ca_file} holds no certificates in PEM form (-----BEGIN CERTIFICATE-----)"
    except OSError as error:
        return f"{ca_file} cannot be read: {error.strerror or type(error).__name__}"
    return None


def _with_own(context: ssl.SSLContext, ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is not None:
        if fault := fault_of(ca_file):
            log.error("own_authorities_unreadable", reason=fault)
        else:
            context.load_verify_locations(ca_file)
    return context


@cache
def _bundle(ca_file: Path) -> Any:
    import certifi

    own = b"" if fault_of(ca_file) else ca_file.read_bytes()
    bundle = NamedTemporaryFile(prefix="router-authorities-", suffix=".pem")  # noqa: SIM115 - it goes with the process
    bundle.write(Path(certifi.where()).read_bytes() + b"\n" + own)
    bundle.flush()
    return bundle
