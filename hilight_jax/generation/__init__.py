"""Generates answers: prompts, the cached language model, sampling, streaming, dialogue and evidence."""
