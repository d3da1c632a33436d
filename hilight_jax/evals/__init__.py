"""What a trained encoder is worth: retrieval, grounding, and the maps that pictures are drawn from."""
