"""Automatic pool size: once a day, more numbers or fewer (R9)."""
