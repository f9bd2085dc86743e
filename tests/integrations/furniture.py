"""Alice's project has a delivery, for the walk over all addresses."""

from typing import Any

from sqlalchemy.orm import Session

from tests.factories import make_call, make_delivery, make_integration, make_scenario
from tests.people import Cast, furnishes


@furnishes
def a_dead_delivery(session: Session, cast: Cast) -> dict[str, Any]:
    scenario = make_scenario(session, cast.project, 0)
    config = {"url": "https://hooks.example.com/calls"}
    webhook = make_integration(session, scenario, receiver="webhook:1:hooks.example.com", config=config)
    dead = {"state": "dead", "reason": "The receiver answered 410.", "done_at": None}
    delivery = make_delivery(session, make_call(session, scenario), webhook, **dead)
    return {"delivery_id": delivery.id}
