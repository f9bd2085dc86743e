"""How fast the two hot paths are, beside the least that the same statements cost: `python -m bench`."""
