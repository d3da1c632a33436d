"""Draws one ball (its rays, its paint with stripes and numbers, the light on it) and its shadow."""

import functools
from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.physics.table import BALL_RADIUS
from hilight_jax.billiards.rendering.background import Background
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.layers import Box, Layer
from hilight_jax.billiards.rendering.looks import bitmap, rgb
from hilight_jax.core.errors import ConfigError

BALL_IDS = ("cue", *map(str, range(1, 16)))
# sRGB of solids; the striped n + 8 has the colour of n. Any two of them lie at least 95 apart.
PALETTE = {
    "cue": (240, 236, 220),
    "1": (250, 204, 28),
    "2": (22, 62, 186),
    "3": (212, 16, 30),
    "4": (112, 36, 142),
    "5": (244, 104, 12),
    "6": (8, 120, 66),
    "7": (112, 52, 20),
    "8": (17, 17, 19),
}
WHITE = (242, 238, 226)
INK = (16, 16, 18)
CUE_SPOT = (196, 28, 32)

STRIPE = 0.56  # a stripe reaches this far from the ball's equator, in radii
SPOT = 0.875  # number spots are the caps beyond this along the ball's x axis, in radii
CUE_SPOT_CAP = 0.98

_TEXTURE = 32  # rows and columns of a number spot's texture

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
    """Casts rays at a ball ('cue' or '1' to '15') with centre ``position`` [3], metres.

    With the camera's axes as basis, a ray of depth t goes through (right t, down t, t), where right and down are the
    slopes of its pixel. It meets the ball of centre c and radius r where |ray - c| = r:
    dd t^2 - 2 b t + |c|^2 - r^2 = 0, dd = 1 + right^2 + down^2, b = (right, down, 1) . c.
    ``rotation`` [3, 3] turns the ball's frame into the world's.

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
    color = paint(ball, to_ball @ outward)
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


def shadow(
    background: Background, camera: Camera, position: np.ndarray, light: Light
) -> tuple[slice, slice, np.ndarray] | None:
    """Returns a ball's shadow from every lamp, with its contact shadow.

    That is rows and columns of the picture and the factors [y, x] by which they are darker; None where it casts none.

    Lamps are far away compared with the ball, so their direction is the same all over the shadow. A surface point looks
    at a lamp past the ball's centre at the distance sqrt(|c|^2 - (c . l)^2), c being the way to the centre and l the
    direction of the lamp. Of the light from everywhere a sphere hides cos(angle) (r / |c|)^2 from a level surface.
    """
    position = np.asarray(position, np.float32)
    toward = light.position - position
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    box = _shadow_box(camera, position, toward).clipped(camera.height, camera.width)
    if not box.area:
        return None
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
    return rows, columns, (1 - hidden).reshape(shape)


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


def base_color(ball: str) -> tuple[int, int, int]:
    """Returns the colour in a ball's name, sRGB.

    Raises:
      ConfigError: there is no such ball.
    """
    if ball not in BALL_IDS:
        raise ConfigError(f"Unknown ball '{ball}'; allowed are {', '.join(BALL_IDS)}.")
    return PALETTE[str(int(ball) - 8)] if ball != "cue" and int(ball) > 8 else PALETTE[ball]


def is_striped(ball: str) -> bool:
    """Returns True if the ball is one of 9 to 15."""
    return ball != "cue" and int(ball) > 8


def paint(ball: str, normals: np.ndarray) -> np.ndarray:
    """Returns the paint of the surface of a ball ('cue' or '1' to '15'), float32 [3, n], sRGB 0..255.

    ``normals`` are unit vectors [3, n] from the ball's centre, in the ball's own frame: stripes run around its z axis,
    the two number spots lie at its +x and -x with the digits' tops towards +z.
    """
    x, y, z = normals
    color = np.empty_like(normals)
    color[:] = rgb(base_color(ball))
    if ball == "cue":
        spots = np.abs(normals).max(0) > CUE_SPOT_CAP
        np.copyto(color, rgb(CUE_SPOT), where=spots)
        return color
    spots = np.abs(x) > SPOT
    white = spots | (np.abs(z) > STRIPE) if is_striped(ball) else spots
    np.copyto(color, rgb(WHITE), where=white)
    (spot,) = np.nonzero(spots)
    if spot.size:
        half = 0.5 * _TEXTURE
        scale = half / np.sqrt(1 - SPOT * SPOT)
        column = (half + scale * np.copysign(y[spot], x[spot] * y[spot])).astype(np.intp)
        row = (half - scale * z[spot]).astype(np.intp)
        ink = number_texture(ball)[np.clip(row, 0, _TEXTURE - 1), np.clip(column, 0, _TEXTURE - 1)]
        color[:, spot[ink]] = rgb(INK)
    return color


@functools.cache
def number_texture(number: str) -> np.ndarray:
    """The ink of a number in the square around its spot, bool [32, 32]; 6 and 9 are underlined."""
    glyph = bitmap(number)
    if number in ("6", "9"):
        glyph = np.pad(glyph, ((0, 2), (0, 0)))
        glyph[-1] = True
    rows, columns = glyph.shape
    scale = 0.66 * _TEXTURE / max(rows, 1.1 * columns)
    position = np.arange(_TEXTURE) + 0.5 - _TEXTURE / 2
    row = np.floor(position / scale + rows / 2).astype(int)
    column = np.floor(position / scale + columns / 2).astype(int)
    inside = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))
    return inside & glyph[np.clip(row, 0, rows - 1)][:, np.clip(column, 0, columns - 1)]
