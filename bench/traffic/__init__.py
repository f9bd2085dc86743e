"""How much of the truth a pool of numbers tells: simulated traffic against the real endpoints, beside a classical pool."""
