"""What scenarios tell the floors above, in the same transaction."""

from blinker import Signal

numbers_changed = Signal(
    "Tracking numbers moved into, out of or within a scenario. sender: the Server; session, project_id, number_ids"
)
