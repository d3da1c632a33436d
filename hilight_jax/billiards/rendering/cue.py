"""Draws the cue stick: a tapered rod in the colours of its parts."""

import numpy as np

from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.layers import Layer
from hilight_jax.billiards.rendering.rods import Rod, shade
from hilight_jax.billiards.rendering.spheres import Light

TIP_RADIUS = 0.0065
RADII = (TIP_RADIUS, 0.0145)  # at the tip and the butt, metres
# (share of the length from the tip at which a part ends, its colour): chalked tip, ferrule, shaft, wrap, butt.
_PARTS = (
    (0.008, (58, 92, 160)),
    (0.025, (236, 234, 224)),
    (0.55, (212, 172, 112)),
    (0.75, (38, 36, 40)),
    (1.0, (72, 30, 22)),
)
_ENDS = np.array([end for end, _ in _PARTS[:-1]], np.float32)
_COLORS = np.array([color for _, color in _PARTS], np.float32)


def draw(camera: Camera, tip: np.ndarray, butt: np.ndarray, light: Light) -> Layer | None:
    """Returns the stick's layer inside the picture, or None when nothing of it is there."""
    rod = Rod.seen(camera, tip, butt, RADII)
    if rod is None:
        return None
    cover = rod.cover()
    return shade(rod, _COLORS[np.searchsorted(_ENDS, cover[0])].transpose(2, 0, 1), cover, light)
