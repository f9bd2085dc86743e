"""Scenarios, their tracking numbers and call flows."""
