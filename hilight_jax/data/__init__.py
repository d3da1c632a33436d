"""Video and text input: sources, decoding, CLIP-exact preprocessing, tokens, language masks and grain pipelines."""
