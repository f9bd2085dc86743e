"""When nothing else works: one Dial to a fallback destination, or a polite sentence (R12). Never raises."""

import structlog
from sqlalchemy import text

from router.carriers.base import InboundCall
from router.server import Server
from router.voice import twiml

log = structlog.get_logger(__name__)

# the least that every schema has had: no model, so that a database of another version answers it too
_FALLBACK = text(
    "SELECT project.fallback_destination FROM tracking_number"
    " JOIN project ON project.id = tracking_number.project_id WHERE tracking_number.e164 = :dialled"
)


def last_resort(server: Server, call: InboundCall | None) -> str:
    """The operator's fallback destination; without one, the project's, if the database still tells it. `call` is None when the carrier's
    request could not be read."""
    destination = server.settings.fallback_destination or (_project_fallback(server, call) if call else "")
    return twiml.forward_blindly(destination, call)


def _project_fallback(server: Server, call: InboundCall) -> str:
    try:
        with server.database.reading() as session:
            for number in (call.number_e164, *call.other_readings):
                if found := session.execute(_FALLBACK, {"dialled": number}).scalar():
                    return str(found)
            return ""
    except Exception:
        log.exception("no_fallback_found")
        return ""
