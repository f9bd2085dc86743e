"""Pages and API of a project's money, and how long it lasts (R4)."""
