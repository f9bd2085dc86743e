"""Bringing the settings of another call tracking service over (R13)."""
