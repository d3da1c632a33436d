"""What a run of each training stage is made of: its objective, its input, its evaluation."""
