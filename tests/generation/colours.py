"""A finder without a network: a patch is its mean colour, a phrase the colour that it names."""

import numpy as np

from hilight_jax.data.conversations.words import encode_phrases

SIDE = 16
_COLOURS = {"red": (1, -1, -1), "blue": (-1, -1, 1), "green": (-1, 1, -1)}


class ColourFinder:
    """Finds the colours red, blue and green, on a grid of 4 x 4 patches."""

    columns, threshold = 4, 0.9

    def __init__(self, num_frames, image_size=SIDE):
        self.num_frames, self.image_size, self.seen, self.asked = num_frames, image_size, [], []

    def patches(self, frames):
        self.seen += list(frames)
        size = self.image_size // 4
        blocks = frames.reshape(-1, 4, size, 4, size, 3).mean((2, 4)).reshape(*frames.shape[:2], 16, 3) / 127.5 - 1
        return (blocks / np.maximum(np.linalg.norm(blocks, axis=-1, keepdims=True), 1.0)).astype(np.float32)

    def phrases(self, ids, content):
        self.asked.append(ids)
        known = {name: encode_phrases([name])[0][0, 1] for name in _COLOURS}
        named = [next((_COLOURS[name] for name, i in known.items() if i in row), (0, 0, 0)) for row in ids]
        return np.array(named, np.float32) / 3**0.5
