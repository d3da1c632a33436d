"""A working directory: its configuration, where its parts come from, its ancestry."""
