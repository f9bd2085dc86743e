"""Renting numbers from the carrier: bought, renewed, in grace, given back (R4, R5)."""
