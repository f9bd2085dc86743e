"""The tag as it is served, and how it is installed; its modules are in `src`."""
