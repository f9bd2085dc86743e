"""A visitor's region, looked up in an MMDB file that the operator supplies (`ROUTER_GEOIP`). The address itself goes no further."""

import re
import threading
from pathlib import Path
from typing import Any

import maxminddb
import structlog

from router.config import SettingsError
from router.server import Server

COUNTRY, PART = re.compile("[A-Z]{2}"), re.compile("[A-Z0-9]{1,3}")

log = structlog.get_logger(__name__)


class Regions:
    """An MMDB file, opened once and again when the operator has replaced it. Read as a file, not mapped into memory: one that is
    overwritten in place would kill the process."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            OSError, maxminddb.InvalidDatabaseError: it cannot be read.
        """
        self._path = path
        self._lock = threading.Lock()
        self._stamp = self._present()
        self._reader = self._open()

    def region_of(self, address: str) -> str:
        """`US-CA`, or only `US`; empty when the file does not know, or is broken."""
        with self._lock:
            self._follow()
            try:
                return read_region(self._reader.get(address))
            except Exception:  # whatever a file may hold, the page gets its number
                return ""

    def close(self) -> None:
        self._reader.close()

    def _follow(self) -> None:
        """Opens a file that has changed; one that is broken or gone leaves the one before in use."""
        try:
            present = self._present()
            if present == self._stamp:
                return
            self._stamp = present
            reader = self._open()
        except Exception as error:
            log.warning("geoip_unreadable", path=str(self._path), error=str(error))
            return
        self._reader.close()
        self._reader = reader

    def _open(self) -> maxminddb.Reader:
        return maxminddb.open_database(self._path, maxminddb.MODE_FILE)

    def _present(self) -> tuple[int, int, int]:
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_ino, stat.st_size


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
