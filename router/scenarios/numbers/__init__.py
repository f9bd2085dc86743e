"""Tracking numbers: the project's inventory, search, orders and purchase, release and sync with the carrier (R5)."""
