"""Inbound calls: the call flow as TwiML, legs, events and statuses."""
