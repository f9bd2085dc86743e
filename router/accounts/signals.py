"""What accounts ask the floors above, in the same transaction."""

from blinker import Signal

fallback_chosen = Signal(
    "A project is about to get this fallback destination; a receiver that raises a Problem refuses it. No sender; session, destination"
)
