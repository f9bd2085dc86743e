"""Helpers that know nothing of the product: numbers, formats, secrets, HTTP, SMTP."""
