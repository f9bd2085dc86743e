"""A project's money: rent by the week, grace, notices by e-mail, pages and API, and how long the balance lasts (R4)."""
