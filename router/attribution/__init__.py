"""Visits, marketing sources, leases, the tag, and which visit a call belongs to."""
