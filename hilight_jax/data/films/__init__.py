"""Films of any length: read in one streaming pass, cut into shots, replays and interludes."""
