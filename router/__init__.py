"""Call tracking and call routing server that companies run themselves."""

__version__ = "0.1.0"
