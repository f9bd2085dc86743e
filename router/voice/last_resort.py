"""When nothing else works: one Dial to a fallback destination, or a polite sentence (R12). Never raises."""

import structlog
from sqlalchemy import text

from router.phones import Caller
from router.server import Server
from router.voice import twiml

log = structlog.get_logger(__name__)

# the least that every schema has had: no model, so that a database of another version answers it too
_FALLBACK = text(
    "SELECT project.fallback_destination FROM tracking_number"
    " JOIN project ON project.id = tracking_number.project_id WHERE tracking_number.e164 = :dialled"
)


def last_resort(server: Server, caller: Caller, dialled: str) -> str:
    """The operator's fallback destination; without one, the project's, if the database still tells it."""
    destination = server.settings.fallback_destination or _project_fallback(server, dialled)
    return twiml.forward_blindly(destination, caller, dialled)


def _project_fallback(server: Server, dialled: str) -> str:
    try:
        with server.database.reading() as session:
            return str(session.execute(_FALLBACK, {"dialled": dialled}).scalar() or "")
    except Exception:
        log.exception("no_fallback_found")
        return ""
