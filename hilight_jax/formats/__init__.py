"""Foreign checkpoints: readers of their files, and the tables of their names."""
