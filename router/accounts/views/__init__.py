"""Pages of sign-in and settings."""
