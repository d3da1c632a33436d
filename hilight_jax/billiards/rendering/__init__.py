"""Pictures of a pool table."""
