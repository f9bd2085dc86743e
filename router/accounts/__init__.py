"""Projects, people and their roles, sign-in, API tokens, the audit trail."""
