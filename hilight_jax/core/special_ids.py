"""Ids that stand for something other than a token: what data writes and models and losses read."""

# A row that a video token fills. The original's <video> placeholder, once per clip before expansion.
VIDEO_ID = -200
# A label that is not learned: prompts, video rows, padding. The original's and torch's cross entropy's.
IGNORE_ID = -100
