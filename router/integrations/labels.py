"""What deliveries are called on pages: the list of deliveries and a call's page say the same."""

DELIVERY_STATES = {
    "pending": ("waiting", "quiet"),
    "leased": ("being sent", "quiet"),
    "done": ("delivered", "good"),
    "dead": ("given up", "bad"),
    "skipped": ("skipped", "quiet"),
    "expired": ("too late", "warn"),
}
"""The label of each state, and the kind of its pill. Skipping follows the settings, so it asks nobody for attention."""

EVENTS = {
    "call.started": "as the call began",
    "call.ended": "as the call ended",
    "call.updated": "as more became known",
}
"""When a delivery was made, by its event."""
