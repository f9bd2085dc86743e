"""Inbound calls: what answers the carrier, legs, events and statuses."""
