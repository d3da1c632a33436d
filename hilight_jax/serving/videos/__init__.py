"""The videos of clients: stored, fetched, and decoded in separate processes."""
