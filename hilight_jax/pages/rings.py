"""Rings around named things over the frames of a clip, each in its colour, with the names above the picture."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont

from hilight_jax.pages import heatmaps

# Told apart by colour-blind readers (M. Okabe and K. Ito); serving/page/rings.js has the same.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7")
_PAPER, _FAINT = (22, 22, 28), (150, 150, 160)
_LINE, _MARGIN, _MIN_WIDTH = 20, 8, 240  # Pixels.


class Ring(NamedTuple):
    """A thing and where it is, in pixels of the pictures."""

    name: str
    centres: Float[np.ndarray, "F 2"]  # x, y
    seen: Bool[np.ndarray, " F"]
    radius: float


def draw_rings(
    pictures: UInt8[np.ndarray, "F Y X 3"], rings: Sequence[Ring], notes: Sequence[str]
) -> UInt8[np.ndarray, "F y x 3"]:
    """Draws rings where things are seen, the names in their colours above, and below a note for each frame."""
    colours = [ImageColor.getrgb(COLOURS[number % len(COLOURS)])[:3] for number in range(len(rings))]
    for ring, colour in zip(rings, colours, strict=True):
        radii = np.full(len(pictures), ring.radius)
        pictures = heatmaps.ring(pictures, ring.centres, radii, ring.seen.tolist(), colour)
    height, width = pictures.shape[1:3]
    font, top = ImageFont.load_default(13), _LINE * len(rings)
    drawn = []
    for frame, note in enumerate(notes):
        image = Image.new("RGB", (max(width, _MIN_WIDTH), top + height + _LINE), _PAPER)
        image.paste(Image.fromarray(pictures[frame]), ((image.width - width) // 2, top))
        pen = ImageDraw.Draw(image)
        for line, (ring, colour) in enumerate(zip(rings, colours, strict=True)):
            name = ring.name if ring.seen[frame] else f"{ring.name}: not seen"
            pen.text((_MARGIN, _LINE * line + _LINE // 2), name, colour, font, anchor="lm")
        pen.text((_MARGIN, top + height + _LINE // 2), note, _FAINT, font, anchor="lm")
        drawn.append(np.asarray(image))
    return np.stack(drawn)
