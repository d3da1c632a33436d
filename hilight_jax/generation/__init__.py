"""Prompts become text: the language model with a cache, sampling, streaming, dialogue, evidence."""
