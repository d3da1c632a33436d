"""Checkpoints: the orbax store, and one table of names per foreign layout, used in both directions."""
