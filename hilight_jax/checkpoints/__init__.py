"""Checkpoints: the orbax store of a working directory, the integrity of its files, streaming of lazy arrays."""
