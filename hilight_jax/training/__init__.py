"""One loop, one pure step: what every training stage shares, and the encoder's own task."""
