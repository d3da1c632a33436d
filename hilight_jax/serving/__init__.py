"""A chat model at work: clips and prompts in, answers out, word by word."""
