"""A world so plain that the right encoder can be written down: coloured discs on black, named by their colours.

Seven clips, one for every set of red, green and blue; two frames of 32 x 32 px; a patch is 8 px, a disc fills one.
The encoder's patch features are mean colours and its token features are the colours that the words name.
"""

import itertools
from types import SimpleNamespace

import numpy as np

from hilight_jax.billiards.encoding import encode_video
from hilight_jax.data.config import DataConfig
from hilight_jax.data.records import Caption, Record, Span
from hilight_jax.data.tokenizers import encode

COLOURS = ("red", "green", "blue")
SETS = [s for n in (1, 2, 3) for s in itertools.combinations(range(3), n)]
SIDE, PATCH, FRAMES = 32, 8, 2
_TOKEN = {colour: encode(colour)[0][0] for colour in COLOURS}


class ColouredDiscs:
    """A source of the seven clips; `broken` ones hold no video."""

    name = "coloured discs"

    def __init__(self, broken=()):
        self._broken = broken

    def __len__(self):
        return len(SETS)

    def __getitem__(self, index):
        objects, frames = {}, np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
        generator = np.random.default_rng(index)
        cells = generator.permutation(16)[: 3 * FRAMES].reshape(3, FRAMES)
        rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
        for colour in SETS[index]:
            y, x = (PATCH * (part + 0.5) for part in np.divmod(cells[colour], 4))
            for frame in range(FRAMES):
                frames[frame, np.hypot(rows - y[frame], columns - x[frame]) < 4, colour] = 250
            objects[f"ball:{COLOURS[colour]}"] = {
                "x": x.tolist(), "y": y.tolist(), "radius": [4.0] * FRAMES, "visible": [1.0] * FRAMES,
            }  # fmt: skip
        labels = {"height": SIDE, "width": SIDE, "times": [0.0, 0.5], "objects": objects}
        video = b"" if index in self._broken else encode_video(frames, fps=2)
        return Record(f"discs/{index}", video, (_caption(SETS[index]),), labels=labels)


def _caption(colours):
    text, spans = "look:", []
    for colour in colours:
        name = f"the {COLOURS[colour]} ball"
        spans.append(Span(len(text) + 1, len(text) + 1 + len(name), "ball", f"ball:{COLOURS[colour]}"))
        text += f" {name}"
    return Caption(text, tuple(spans))


class ColourEncoder:
    """An encoder of colours alone; notes the shapes of its inputs."""

    def __init__(self, contrast="across_clips", batch_size=4, levels=1, quarantine=""):
        self.config = SimpleNamespace(
            data=DataConfig(
                validation="tfds:data/discs/1.0.0/validation",
                num_frames=FRAMES,
                image_size=SIDE,
                text_length=24,
                quarantine=quarantine,
            ),
            model=SimpleNamespace(
                vision=SimpleNamespace(patch_size=PATCH), local=SimpleNamespace(levels=("embedding", "last")[:levels])
            ),
            loss=SimpleNamespace(local=SimpleNamespace(contrast=contrast)),
            eval_batch_size=batch_size,
        )
        self.level_weights, self.step = (1.0, 0.0)[:levels], 40
        self.shapes = set()

    def encode_video(self, video):
        self.shapes.add(video.shape)
        side = SIDE // PATCH
        cells = video.reshape(-1, FRAMES, side, PATCH, side, PATCH, 3).mean((3, 5)) / 255
        patches = np.where(cells > 0.2, cells, 0).reshape(-1, FRAMES, side * side, 3)
        return {"video_embeds": _unit(np.sign(patches.max((1, 2))) + 1e-3), "video_local": self._levels(patches)}

    def encode_text(self, text_ids, text_mask):
        self.shapes.add(text_ids.shape)
        tokens = np.stack([text_ids == _TOKEN[colour] for colour in COLOURS], -1).astype(float)
        return {"text_embeds": _unit(tokens.max(1) + 1e-3), "text_local": self._levels(tokens)}

    def _levels(self, features):
        """The maps of the second level are flat."""
        return (features, np.zeros_like(features))[: len(self.level_weights)]


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
