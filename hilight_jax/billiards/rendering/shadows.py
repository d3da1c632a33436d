"""How much light a ball keeps from the surfaces around it."""

import numpy as np

from hilight_jax.billiards.physics.table import BALL_RADIUS
from hilight_jax.billiards.rendering.background import Background
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.layers import Box
from hilight_jax.billiards.rendering.spheres import Light

_UMBRA, _PENUMBRA = (
    0.55,
    1.35,
)  # a lamp is hidden fully and not at all where its ray passes the centre so near, in radii
_CONTACT_REACH = 2.6  # radii around a ball where its contact shadow is drawn


def cast(image: np.ndarray, background: Background, camera: Camera, position: np.ndarray, light: Light) -> None:
    """Darkens ``image`` [3, Y, X], in place, by a ball's shadow from every lamp and by its contact shadow.

    Lamps are far away compared with the ball, so their direction is the same all over the shadow. A surface point looks
    at a lamp past the ball's centre at the distance sqrt(|c|^2 - (c . l)^2), c being the way to the centre and l the
    direction of the lamp. Of the light from everywhere a sphere hides cos(angle) (r / |c|)^2 from a level surface.
    """
    position = np.asarray(position, np.float32)
    toward = light.position - position
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    box = _reach(camera, position, toward).clipped(camera.height, camera.width)
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


def _reach(camera: Camera, position: np.ndarray, toward: np.ndarray) -> Box:
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
