"""Alice's project has a delivery, for the walk over all addresses."""

from typing import Any

from sqlalchemy.orm import Session

from router.integrations.models import Delivery, Integration
from tests.factories import make_scenario
from tests.integrations.factories import NOW, make_call
from tests.people import Cast, furnishes


@furnishes
def a_dead_delivery(session: Session, cast: Cast) -> dict[str, Any]:
    scenario = make_scenario(session, cast.project, 0)
    integration = Integration(
        project_id=cast.project.id,
        scenario_id=scenario.id,
        slot="webhook_end",
        kind="webhook",
        receiver="webhook:1:hooks.example.com",
        config={"url": "https://hooks.example.com/calls"},
        created_at=NOW,
    )
    session.add(integration)
    session.flush()
    delivery = Delivery(
        message_id=f"msg_{integration.id}",
        project_id=cast.project.id,
        integration_id=integration.id,
        call_id=make_call(session, scenario).id,
        event="call.ended",
        receiver=integration.receiver,
        order_key="",
        state="dead",
        reason="The receiver answered 410.",
        attempts=1,
        created_at=NOW,
        event_at=NOW,
        next_at=NOW,
        reference={},
    )
    session.add(delivery)
    session.flush()
    return {"delivery_id": delivery.id}
