"""What scenarios tell the floors above, in the same transaction."""

from blinker import Signal

numbers_changed = Signal(
    "Tracking numbers moved into, out of or within a scenario. sender: the Server; session, project_id, number_ids"
)

free_numbers_changed = Signal(
    "A project's free numbers are others: one was added or removed, or its first scenario came or its last one went. session, project_id"
)
