"""Call logs of other services (R13): their times, their columns, and what a file of theirs says."""
