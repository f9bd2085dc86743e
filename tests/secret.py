"""The secret key of the servers of all tests."""

SECRET = "test-secret-key-0123456789"
