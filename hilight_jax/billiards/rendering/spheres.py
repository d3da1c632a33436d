"""Draws one ball (its rays, its paint, the light on it) and its shadow."""

from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.physics.table import BALL_RADIUS
from hilight_jax.billiards.rendering import balls
from hilight_jax.billiards.rendering.background import Background
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.layers import Box, Layer

_DIFFUSE = 1.07  # a ball's lamp-lit side against a level cloth's
_GLOSS = 217.0  # brightness of the strongest lamp's reflection
_SHARPNESS = 220.0  # of the lamps' reflections
_SHEEN = 42.0  # brightness of the room in the ball's edge
# A lamp is hidden fully, and not at all, where its ray passes the ball's centre at these distances, in radii.
_UMBRA, _PENUMBRA = 0.55, 1.35
_CONTACT_REACH = 2.6  # radii around a ball where its contact shadow is drawn


class Light(NamedTuple):
    """The light that falls on balls.

    Attributes:
      position: float32 [k, 3], lamps, metres.
      strength: float32 [k].
      ambient: light from everywhere.
      tint: float32 [3, 1], its colour times the exposure.
      bounce: float32 [3, 1], colour of the cloth, which lights balls from below.
    """

    position: np.ndarray
    strength: np.ndarray
    ambient: float
    tint: np.ndarray
    bounce: np.ndarray


def draw(camera: Camera, ball: str, position: np.ndarray, rotation: np.ndarray, light: Light) -> Layer | None:
    """Casts rays at a ball.

    With the camera's axes as basis, a ray of depth t goes through (right t, down t, t), where right and down are the
    slopes of its pixel. It meets the ball of centre c and radius r where |ray - c| = r:
    dd t^2 - 2 b t + |c|^2 - r^2 = 0, dd = 1 + right^2 + down^2, b = (right, down, 1) . c.

    Args:
      camera: the camera.
      ball: 'cue' or '1' to '15'.
      position: [3], centre of the ball, metres.
      rotation: [3, 3], from the ball's frame to the world.
      light: the lamps.

    Returns:
      The ball's layer, which may reach beyond the picture; None when the ball is behind or too near the camera or
      wholly outside the picture.
    """
    bounds = camera.sphere_bounds(position, BALL_RADIUS)
    if bounds is None:
        return None
    box = Box.around(*bounds)
    if not box.clipped(camera.height, camera.width).area:
        return None
    rows, columns = box.bottom - box.top, box.right - box.left
    samples = 3 if columns < 24 else 2
    offset = (np.arange(max(rows, columns) * samples) + 0.5) / samples
    right, down = camera.slopes(box.left + offset[: columns * samples], box.top + offset[: rows * samples])

    center = camera.view(position)
    along = (center[0] * right).astype(np.float32) + (center[1] * down + center[2]).astype(np.float32)[:, None]
    length = np.square(right) + (1 + np.square(down))[:, None]
    power = np.square(along)
    power -= length * np.float32(center @ center - BALL_RADIUS**2)
    row, column = np.nonzero(power > 0)
    pixel = row // samples * columns + column // samples

    along, length, power = along[row, column], length[row, column], power[row, column]
    depth = (along - np.sqrt(power)) / length
    reach = depth * np.sqrt(length)  # distance from the eye
    hit = np.stack([right[column] * depth, down[row] * depth, depth])
    outward = ((hit - center[:, None].astype(np.float32)) / np.float32(BALL_RADIUS)).astype(np.float32)

    to_world = camera.axes.T.astype(np.float32)
    to_ball = (np.asarray(rotation).T @ camera.axes.T).astype(np.float32)
    color = balls.paint(ball, to_ball @ outward)
    _illuminate(color, to_world @ outward, to_world @ hit / reach, position, light)

    area = rows * columns
    count = np.bincount(pixel, minlength=area)
    total = np.stack([np.bincount(pixel, channel, area) for channel in (*color, depth)])
    shape = (rows, columns)
    return Layer(
        box,
        (total[:3] / samples**2).astype(np.float32).reshape(3, *shape),
        (count / samples**2).astype(np.float32).reshape(shape),
        (total[3] / np.maximum(count, 1)).astype(np.float32).reshape(shape),
    )


def cast_shadow(image: np.ndarray, background: Background, camera: Camera, position: np.ndarray, light: Light) -> None:
    """Darkens ``image`` [3, Y, X], in place, by a ball's shadow from every lamp and by its contact shadow.

    Lamps are far away compared with the ball, so their direction is the same all over the shadow. A surface point looks
    at a lamp past the ball's centre at the distance sqrt(|c|^2 - (c . l)^2), c being the way to the centre and l the
    direction of the lamp. Of the light from everywhere a sphere hides cos(angle) (r / |c|)^2 from a level surface.
    """
    position = np.asarray(position, np.float32)
    toward = light.position - position
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    box = _shadow_box(camera, position, toward).clipped(camera.height, camera.width)
    if not box.area:
        return
    rows, columns = box.slices()
    way = position[:, None, None] - background.point[:, rows, columns]
    shape = way.shape[1:]
    way = way.reshape(3, -1)
    square = np.square(way).sum(0)

    ahead = toward @ way
    passing = np.sqrt(np.maximum(square - np.square(ahead), 0))
    share = np.clip((_PENUMBRA - passing / BALL_RADIUS) / (_PENUMBRA - _UMBRA), 0, 1)
    share *= share * (3 - 2 * share) * (ahead > 0)
    everywhere = light.ambient + light.strength.sum()
    hidden = (light.strength / everywhere) @ share
    contact = np.maximum(way[2], 0) * BALL_RADIUS**2 / np.maximum(square, BALL_RADIUS**2) ** 1.5
    hidden += light.ambient / everywhere * contact
    image[:, rows, columns] *= (1 - hidden).reshape(shape)


def _illuminate(color: np.ndarray, normal: np.ndarray, ray: np.ndarray, position: np.ndarray, light: Light) -> None:
    """Lights paint [3, n], in place: lamps, the room, the cloth's bounce, the lamps' reflections, the edge's sheen."""
    toward = light.position - np.asarray(position, np.float32)
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    lamps = light.strength @ np.maximum(toward @ normal, 0)
    facing = (normal * ray).sum(0)
    mirrored = ray - 2 * facing * normal
    gloss = light.strength @ np.exp(_SHARPNESS * (toward @ mirrored - 1))
    edge = np.square(np.square(1 + facing))

    color *= (light.ambient * (0.8 + 0.25 * normal[2]) + _DIFFUSE * lamps) * light.tint
    color += light.bounce * np.maximum(-normal[2], 0)
    color += _GLOSS / light.strength.max() * gloss + _SHEEN * light.ambient * edge
    np.clip(color, 0, 255, out=color)


def _shadow_box(camera: Camera, position: np.ndarray, toward: np.ndarray) -> Box:
    """The pixels that the shadows on the bed can reach."""
    steepness = np.maximum(toward[:, 2:], 0.2)
    fallen = position - toward * (position[2] / steepness)
    centers = np.vstack([fallen, position * (1, 1, 0)])
    radii = BALL_RADIUS * np.append(_PENUMBRA / steepness[:, 0], _CONTACT_REACH)
    pixels, depth = camera.project(centers)
    if not (depth > 2 * radii).all():
        return Box(0, camera.height, 0, camera.width)
    reach = (radii * camera.focal / depth)[:, None]
    return Box.around(*(pixels - reach).min(0), *(pixels + reach).max(0))
