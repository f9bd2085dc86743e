"""The wizard: six steps on a draft that loses nothing (R2)."""
