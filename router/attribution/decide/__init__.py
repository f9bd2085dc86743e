"""Which visit and source a call belongs to, and how sure that is (R7)."""
