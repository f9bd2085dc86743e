"""The linter: what somebody should look at before a scenario is enabled (R2)."""
