"""How much of a scenario's attribution can be trusted, by day (R8)."""
