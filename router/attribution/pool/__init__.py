"""Leases of the numbers of a pool: which number a visit is given, which are shown, how many are needed (R6)."""
