"""Which web pages may ask for numbers: the site's own hosts, and the server's own."""

from collections.abc import Iterable
from datetime import datetime
from typing import NoReturn
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.attribution.models import RefusedOrigin
from router.database import dialect_insert
from router.server import Server
from router.web import Problem

MOST_REFUSED_ORIGINS = 20
DEFAULT_PORTS = {"http": 80, "https": 443}


def host_and_port(address: str) -> tuple[str, int | None] | None:
    """Of an origin or an address: its host, case-folded, and its port where it is not the scheme's own; None for anything else."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        return None
    return parts.hostname.rstrip("."), None if port == DEFAULT_PORTS[parts.scheme] else port


def belongs(site: Iterable[str], host: str, port: int | None = None) -> bool:
    """Whether a host is the site's own. Patterns: `example.com` (its www too), `*.example.com` (every sub-domain), each with `:port`
    when it is only that port."""
    return any(_matches(pattern, host, port) for pattern in site)


def _matches(pattern: str, host: str, port: int | None) -> bool:
    name, _, wanted_port = pattern.casefold().partition(":")
    if wanted_port and str(port or "") != wanted_port:
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name) - 1
    return host in (name, f"www.{name}")


def is_own_host(site: Iterable[str], host: str, page_host: str) -> bool:
    """Whether a referrer's host is the site's own: no evidence of where the visitor came from. Sub-domains of the site count."""
    names = [pattern.casefold().partition(":")[0].removeprefix("*.").removeprefix("www.") for pattern in site]
    return host == page_host or any(host == name or host.endswith(f".{name}") for name in names)


def refuse_origin(server: Server, project_id: int, origin: str, now: datetime) -> NoReturn:
    """
    Raises:
        Problem: 403, always; the origin is remembered at most once a minute.
    """
    if host_and_port(origin) and server.registries["refused_origin_rate"].allows(f"{project_id} {origin}"):
        with server.database.writing() as session:
            remember_refused(session, project_id, origin, now)
    raise Problem(403, "Pages of this site may not ask for numbers; an admin can allow it in the project's settings.")


def remember_refused(session: Session, project_id: int, origin: str, now: datetime) -> None:
    """The admin sees the host with *Allow*; a flood of inventions leaves at most 20 rows."""
    known = session.scalar(select(func.count()).where(RefusedOrigin.project_id == project_id)) or 0
    table = dialect_insert(session, RefusedOrigin).values(project_id=project_id, origin=origin[:300], last_at=now)
    if known >= MOST_REFUSED_ORIGINS:
        return
    session.execute(table.on_conflict_do_update(index_elements=["project_id", "origin"], set_={"last_at": now}))
