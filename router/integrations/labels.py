"""What deliveries are called on pages: the list of deliveries and a call's page say the same."""

from router.integrations.models import DeliveryState

DELIVERY_STATES = {
    DeliveryState.PENDING: ("waiting", "quiet"),
    DeliveryState.LEASED: ("being sent", "quiet"),
    DeliveryState.DONE: ("delivered", "good"),
    DeliveryState.DEAD: ("given up", "bad"),
    DeliveryState.SKIPPED: ("skipped", "quiet"),
    DeliveryState.EXPIRED: ("too late", "warn"),
}
"""The label of each state, and the kind of its pill. Skipping follows the settings, so it asks nobody for attention."""

EVENTS = {
    "call.started": "as the call began",
    "call.ended": "as the call ended",
    "call.updated": "as more became known",
}
"""When a delivery was made, by its event."""
