"""The pool planner: what a scenario's pool would have told with fewer or more numbers."""
