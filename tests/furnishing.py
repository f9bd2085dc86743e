"""One object of each kind in Alice's project, for the walk over all addresses."""

from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy.orm import Session

from router.attribution.models import RefusedOrigin
from router.server import Server
from tests.people import NOW, Cast, furnishes
from tests.reports.making import make_life


@furnishes
def scenarios_numbers_and_calls(session: Session, actors: Cast) -> dict[str, Any]:
    server = cast(Server, SimpleNamespace(registries={}))  # a scenario without parts asks its server for nothing else
    return dict(make_life(session, server, actors.project, NOW))


@furnishes
def a_site_that_asked(session: Session, actors: Cast) -> dict[str, Any]:
    refused = RefusedOrigin(project_id=actors.project.id, origin="https://staging.shop.example:8443", last_at=NOW)
    session.add(refused)
    session.flush()
    return {"origin_id": refused.id}
