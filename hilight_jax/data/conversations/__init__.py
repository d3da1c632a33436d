"""Conversations about clips: files, prompts, token ids, batches."""
