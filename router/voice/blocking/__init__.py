"""Blocked callers: whom a project does not put through, who decides it, and how many calls one caller may hold."""
