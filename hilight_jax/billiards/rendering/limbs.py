"""Draws parts of people that cross the picture: fingers, hands, arms, bodies. Each is a chain of tapered rods."""

from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.rendering.background import Background
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.layers import Layer
from hilight_jax.billiards.rendering.looks import rgb
from hilight_jax.billiards.rendering.rods import Rod, cast_shadow, shade
from hilight_jax.billiards.rendering.spheres import Light


class Limb(NamedTuple):
    """One rod of a person.

    Attributes:
      start: [3] metres.
      end: [3] metres.
      radii: at the start and at the end, metres.
      color: sRGB, 0..255.
      has_shadow: True if it darkens the cloth; fingers are too thin to matter.
    """

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]
    color: tuple[float, float, float]
    has_shadow: bool = True


def draw(camera: Camera, limb: Limb, light: Light) -> Layer | None:
    """Returns a limb's layer inside the picture, or None when nothing of it is there."""
    rod = Rod.seen(camera, limb.start, limb.end, limb.radii)
    return None if rod is None else shade(rod, rgb(limb.color)[:, :, None], rod.cover(), light)


def darken(image: np.ndarray, background: Background, camera: Camera, limb: Limb, light: Light) -> None:
    """Casts a limb's shadow on the bed in ``image`` [3, Y, X], in place."""
    if limb.has_shadow:
        cast_shadow(image, background, camera, (limb.start, limb.end), limb.radii, light)
