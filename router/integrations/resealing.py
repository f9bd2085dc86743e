"""While the secret key is changed (`new,old`), what the old key sealed is sealed under the new one, so that the old one can go."""

from datetime import datetime

import structlog
from sqlalchemy import select, update

from router.integrations.models import Integration
from router.scenarios.models import ScenarioDraft
from router.server import Server

log = structlog.get_logger(__name__)


def reseal(server: Server, now: datetime) -> int:
    """Secrets of receivers and drafts of scenarios; returns how many. What somebody changes meanwhile stays as he has it."""
    if len(server.keys.keys) == 1:
        return 0
    count = 0
    for model in (Integration, ScenarioDraft):
        with server.database.reading() as session:
            rows = session.execute(select(model.id, model.sealed).where(model.sealed != "")).all()
        for row_id, sealed in rows:
            if (anew := server.keys.sealed_anew(sealed)) is not None:
                with server.database.writing() as session:
                    kept = update(model).where(model.id == row_id, model.sealed == sealed).values(sealed=anew)
                    session.execute(kept)
                count += 1
    if count:
        log.info("resealed", count=count)
    return count
