"""Captions and questions about a clip."""
