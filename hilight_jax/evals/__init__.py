"""Evaluations with controls: an encoder's retrieval and grounding, a chat model's answers, and clips for pages."""
