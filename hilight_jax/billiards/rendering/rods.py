"""Draws tapered rods, such as a cue, a finger or a forearm: coverage, shading and shadow."""

from collections.abc import Sequence

import numpy as np

from hilight_jax.billiards.rendering.background import Background
from hilight_jax.billiards.rendering.camera import NEAR, Camera
from hilight_jax.billiards.rendering.layers import Box, Layer
from hilight_jax.billiards.rendering.spheres import Light

_SHADOW_SOFTNESS = 0.06  # metres of half-shadow per metre above the bed


def shade(rod: "Rod", colors: np.ndarray, cover: tuple, light: Light) -> Layer:
    """Returns a rod's layer: ``colors`` [3, y, x] or [3, 1, 1] in the light, darker towards its edges.

    ``cover`` is the rod's own (`Rod.cover`).
    """
    _, depth, across, alpha = cover
    round_ = np.sqrt(np.maximum(1 - np.square(across), 0))
    brightness = light.ambient + light.strength.sum() * (0.25 + 0.75 * round_)
    color = np.clip(colors * (brightness * light.tint[:, :, None]), 0, 255)
    return Layer(rod.box, color * alpha, alpha, depth)


def cast_shadow(
    image: np.ndarray,
    background: Background,
    camera: Camera,
    ends: tuple[np.ndarray, np.ndarray],
    radii: Sequence[float],
    light: Light,
) -> None:
    """Darkens the bed in ``image`` [3, Y, X], in place, by a rod's shadow from every lamp.

    ``ends`` are two points [3], metres, ``radii`` those of the rod there, metres.
    """
    points = np.stack(ends).astype(np.float64)
    everywhere = light.ambient + light.strength.sum()
    for lamp, strength in zip(light.position, light.strength, strict=True):
        height = np.maximum(points[:, 2:], 0)
        if (height > lamp[2] - 0.1).any():
            continue
        fallen = lamp + (points - lamp) * (lamp[2] / (lamp[2] - height))
        soft = _SHADOW_SOFTNESS * height[:, 0]
        rod = Rod.seen(camera, *fallen, radii=np.array(radii) + soft)
        if rod is None:
            continue
        _, _, across, alpha = rod.cover()
        rows, columns = rod.box.slices()
        hidden = alpha * np.maximum(1 - np.square(across), 0) * background.bed[rows, columns]
        image[:, rows, columns] *= 1 - strength / everywhere * hidden


class Rod:
    """A tapered rod in the picture: the line between the projections of its ends.

    Attributes:
      box: the pixels inside the picture that it may cover.
    """

    def __init__(self, camera, start, end, radii, shares):
        """Projects a rod that lies wholly in front of the camera; `seen` cuts one that does not."""
        pixels, depth = camera.project(np.stack([start, end]))
        self.start, self.along = pixels[0], pixels[1] - pixels[0]
        self.depth, self.radii, self.shares, self.focal = depth, radii, shares, camera.focal
        reach = (radii * camera.focal / depth).max() + 1
        low, high = pixels.min(0) - reach, pixels.max(0) + reach
        self.box = Box.around(*low, *high).clipped(camera.height, camera.width)

    @classmethod
    def seen(cls, camera, start, end, radii):
        """Returns the part in front of the camera, or None when no pixel shows it.

        ``start`` and ``end`` are [3], metres; ``radii`` are those of the two ends, metres.
        """
        start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
        near, far = camera.view(np.stack([start, end]))[:, 2] - 2 * NEAR
        if max(near, far) <= 0:
            return None
        # Shares of the length between which the rod lies in front of the near plane.
        crossing = near / (near - far) if near * far < 0 else 0.0
        shares = (crossing if near < 0 else 0.0, crossing if far < 0 else 1.0)
        ends = [start + share * (end - start) for share in shares]
        at = np.array([radii[0] + share * (radii[1] - radii[0]) for share in shares])
        rod = cls(camera, *ends, radii=at, shares=shares)
        return rod if rod.box.area else None

    def cover(self):
        """Returns each pixel's share of the length, depth, distance from the axis in radii, coverage; float32 [y, x].

        A share of the way in the picture is not one of the way in the world: 1 / depth is linear in the picture.
        """
        x = (np.arange(self.box.left, self.box.right) + 0.5 - self.start[0]).astype(np.float32)
        y = (np.arange(self.box.top, self.box.bottom) + 0.5 - self.start[1]).astype(np.float32)[:, None]
        a, b = self.along.astype(np.float32)
        square = max(a * a + b * b, np.float32(1e-6))
        way = np.clip((x * a + y * b) / square, 0, 1)
        distance = np.hypot(x - way * a, y - way * b)
        inverse = np.float32(1 / self.depth[0]) + way * np.float32(1 / self.depth[1] - 1 / self.depth[0])
        depth = 1 / inverse
        part = way * depth / np.float32(self.depth[1])
        radius = (self.radii[0] + part * np.float32(self.radii[1] - self.radii[0])) * self.focal * inverse
        radius = radius.astype(np.float32)
        # A rod thinner than a pixel covers that much of it.
        alpha = np.clip(radius - distance + 0.5, 0, 1) * np.minimum(2 * radius, 1)
        share = self.shares[0] + part * np.float32(self.shares[1] - self.shares[0])
        return share, depth, distance / np.maximum(radius, 0.5), alpha.astype(np.float32)
