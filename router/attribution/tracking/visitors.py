"""Visitor ids and visit tokens, both signed, so that a foreign one is known without a look-up; the visitor's cookie of a site that serves
the tag itself, which browsers keep for longer than a script's; taps on numbers; and the visitor's region, looked up in an MMDB file that
the operator supplies (`ROUTER_GEOIP`)."""

import base64
import binascii
import re
import secrets
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import maxminddb
import structlog
from flask import Response
from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Tap
from router.attribution.tracking.projects import TagProject
from router.attribution.tracking.schema import belongs, host_and_port
from router.config import SettingsError
from router.db import insert_new
from router.lib.crypto import KeyRing
from router.lib.phones import E164
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.web.errors import Problem
from router.web.network import is_same_site, registrable_domain

VISITOR_BYTES, MAC_BYTES = 12, 9


def new_visitor(keys: KeyRing, project_id: int) -> str:
    """A fresh visitor id of this project: 28 characters."""
    return _visitor(keys, project_id, secrets.token_bytes(VISITOR_BYTES))


def visitor_for(keys: KeyRing, project_id: int, known_as: str) -> str:
    """The visitor id of a browser that somebody else knows by a name of his; the same for the same name, and nobody can tell it from it."""
    return _visitor(keys, project_id, keys.sign(f"known visitor {project_id}", known_as.encode(), VISITOR_BYTES))


def _visitor(keys: KeyRing, project_id: int, body: bytes) -> str:
    return _text(body + keys.sign(f"visitor {project_id}", body, MAC_BYTES))


def is_our_visitor(keys: KeyRing, project_id: int, visitor: str) -> bool:
    raw = _bytes(visitor, VISITOR_BYTES + MAC_BYTES)
    return raw is not None and keys.verify(f"visitor {project_id}", raw[:VISITOR_BYTES], raw[VISITOR_BYTES:])


def visit_token(keys: KeyRing, project_id: int, visit_id: int) -> str:
    """The name under which a page speaks of its visit; the same for the same visit."""
    body = visit_id.to_bytes(6)
    return _text(body + keys.sign(f"visit {project_id}", body, MAC_BYTES))


def read_visit_token(keys: KeyRing, project_id: int, token: str) -> int | None:
    """The visit's id, or None when the token is not one of this project's."""
    raw = _bytes(token, 6 + MAC_BYTES)
    if raw is None or not keys.verify(f"visit {project_id}", raw[:6], raw[6:]):
        return None
    return int.from_bytes(raw[:6])


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str, size: int) -> bytes | None:
    if len(text) > 64 or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size and _text(raw) == text else None


KEPT_FOR = timedelta(days=400)
"""The longest that browsers allow."""


def welcome_first_party(response: Response, project: TagProject | None, origin: str, visitor: str | None) -> None:
    """Pages of a project whose site serves the tag ask with credentials, or they could not be given a cookie. A page that is one site with
    that address gets it.

    Args:
        visitor: whose cookie it gets; None: it gets none.
    """
    host = host_and_port(origin)
    if project is None or not project.tag_address or host is None or not belongs(project.site, *host):
        return
    response.headers["Access-Control-Allow-Credentials"] = "true"
    own = host_and_port(project.tag_address)
    if visitor and own and is_same_site(host[0], own[0]):
        response.set_cookie(  # not HttpOnly: the tag reads it, and deletes it when consent is withdrawn
            f"router_visitor_{project.key}",
            visitor,
            max_age=KEPT_FOR,
            domain=registrable_domain(host[0]),  # without one it is the host's alone
            secure=urlsplit(project.tag_address).scheme == "https",
            samesite="Lax",
        )


def record_tap(session: Session, project_id: int, visit_id: int, e164: Any, now: datetime) -> None:
    """Writes the tap when the visit was leased this number, or when it is a static number of the project; anything else is no evidence.

    Taps of one second are one. It is written with the second's end, so that no call is decided by a tap that came after it.

    Raises:
        Problem: 422, what the page posted is no E.164 number.
    """
    if not isinstance(e164, str) or not E164.fullmatch(e164):
        raise Problem(422, "e164 has to be a number like +14155552671.", "e164")
    leased = exists().where(Lease.visit_id == visit_id, Lease.number_id == TrackingNumber.id)
    number_id = session.execute(
        select(TrackingNumber.id).where(
            TrackingNumber.e164 == e164,
            TrackingNumber.project_id == project_id,
            TrackingNumber.released_at.is_(None),
            or_(leased, TrackingNumber.static_source.is_not(None)),
        )
    ).scalar_one_or_none()
    if number_id is not None:
        end_of_second = now + timedelta(microseconds=-now.microsecond % 1_000_000)
        tap = {"visit_id": visit_id, "number_id": number_id, "at": end_of_second}
        session.execute(insert_new(session, Tap, unique=list(tap)).values(tap))


COUNTRY, PART = re.compile("[A-Z]{2}"), re.compile("[A-Z0-9]{1,3}")

log = structlog.get_logger(__name__)


class Regions:
    """An MMDB file, opened once and again when the operator has replaced it. Read as a file, not mapped into memory: a mapped file that is
    overwritten in place would kill the process."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            OSError, maxminddb.InvalidDatabaseError: it cannot be read.
        """
        self._path, self._lock = path, threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._reader: maxminddb.Reader | None = None
        self._follow()

    def region_of(self, address: str) -> str:
        """`US-CA`, or only `US`; empty when the file does not know, or is broken."""
        with self._lock:
            try:
                self._follow()
            except Exception as error:  # the file before stays in use
                log.warning("geoip_unreadable", path=str(self._path), error=str(error))
            try:
                return read_region(self._reader.get(address) if self._reader else None)
            except Exception:  # whatever a file may hold, the page gets its number
                return ""

    def close(self) -> None:
        if self._reader:
            self._reader.close()

    def _follow(self) -> None:
        """Opens the file, and again when it has changed."""
        stat = self._path.stat()
        stamp = stat.st_mtime_ns, stat.st_ino, stat.st_size
        if stamp != self._stamp:
            self._stamp = stamp
            reader = maxminddb.open_database(self._path, maxminddb.MODE_FILE)
            self.close()
            self._reader = reader


def read_region(record: Any) -> str:
    """Of a record as MaxMind's country and city files have it; DB-IP's are alike."""
    if not isinstance(record, dict):
        return ""
    country = _code(record.get("country") or record.get("registered_country"), COUNTRY)
    parts = record.get("subdivisions") or [None]
    part = _code(parts[0], PART)
    return f"{country}-{part}" if country and part else country


def _code(named: Any, form: re.Pattern[str]) -> str:
    code = str(named.get("iso_code") or "") if isinstance(named, dict) else ""
    return code if form.fullmatch(code) else ""


def open_regions(server: Server) -> None:
    """
    Raises:
        SettingsError: the file that the operator named cannot be read.
    """
    path = server.settings.geoip
    if path is None:
        return
    try:
        server.regions = Regions(path)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SettingsError(f"ROUTER_GEOIP: cannot read {path}: {reason}") from None


def region_of(server: Server, address: str) -> str:
    """Empty where no file was named."""
    return server.regions.region_of(address) if server.regions else ""
