"""The motion of balls on a pool table."""
