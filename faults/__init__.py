"""What becomes of calls while something fails, counted with real processes over real HTTP. `make faults` prints the table."""
