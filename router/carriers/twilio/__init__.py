"""Twilio: its signed requests, and its REST API for numbers."""
