"""Published checkpoints become working directories."""
