"""What a trained model is worth: an encoder's retrieval and grounding, a chat model's answers, and their pictures."""
