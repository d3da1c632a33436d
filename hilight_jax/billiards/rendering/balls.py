"""The paint of pool balls: the palette, stripes, number spots, and the spots of a training cue ball."""

import functools

import numpy as np

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
    """Returns the paint of a ball's surface.

    Args:
      ball: 'cue' or '1' to '15'.
      normals: unit vectors [3, n] from the ball's centre, in the ball's own frame: stripes run around its z axis, the
        two number spots lie at its +x and -x with the digits' tops towards +z.

    Returns:
      float32 [3, n], sRGB 0..255.
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
