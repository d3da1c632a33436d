"""Named looks of cloth, wood, floor and lighting, some of them kept out of training, and the font of numbers."""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from hilight_jax.core.errors import ConfigError, nearest

# sRGB, 0..255.
CLOTHS = {
    "blue": (30, 118, 186),
    "green": (22, 122, 62),
    "teal": (26, 116, 116),
    "grey": (92, 98, 108),
    "olive": (98, 112, 52),
    "burgundy": (140, 28, 46),
    "camel": (172, 138, 92),
    "navy": (30, 58, 124),
    "rose": (176, 74, 84),
    "sand": (196, 172, 128),
    "lilac": (150, 122, 178),
    "grass": (72, 152, 72),
    "mint": (124, 190, 148),
    "azure": (88, 160, 212),
}
TRAIN_CLOTHS = ("blue", "green", "teal", "grey", "olive")
UNSEEN_CLOTHS = ("burgundy", "camel")
TRAIN_EDGE_CLOTHS = ("blue", "navy", "grass", "olive", "grey", "rose", "sand", "lilac")
UNSEEN_EDGE_CLOTHS = ("azure", "mint", "burgundy", "camel")
# The colours that captions call cloths by; shades of one word are told apart by a camera, not by a caption.
CLOTH_WORDS = {
    "blue": "blue",
    "navy": "blue",
    "azure": "blue",
    "green": "green",
    "olive": "green",
    "grass": "green",
    "mint": "green",
    "teal": "teal",
    "grey": "grey",
    "rose": "red",
    "burgundy": "red",
    "sand": "tan",
    "camel": "tan",
    "lilac": "purple",
}

WOODS = {
    "walnut": (84, 52, 33),
    "oak": (146, 104, 62),
    "mahogany": (98, 38, 26),
    "black": (34, 33, 35),
    "cherry": (128, 24, 34),
    "white": (214, 210, 204),
    "steel": (120, 124, 132),
}
PLAIN_WOODS = ("walnut", "oak", "mahogany", "black")
FLOORS = {"charcoal": (62, 60, 68), "parquet": (124, 94, 64), "carpet": (98, 38, 44)}


@dataclasses.dataclass(frozen=True)
class Lighting:
    """Lamps and ambient light; strengths and ambient add up to about 1 on the bed's middle.

    Attributes:
      lamps: (x, y, z, strength) each; x and y as fractions of the table's width and length, z in metres.
      ambient: strength of the light from everywhere.
      tint: colour of the light, (red, green, blue) factors.
    """

    lamps: tuple[tuple[float, float, float, float], ...]
    ambient: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


LIGHTS = {
    "lamps": Lighting(((0.5, 0.2, 1.1, 0.3), (0.5, 0.5, 1.1, 0.3), (0.5, 0.8, 1.1, 0.3)), 0.36, (1.02, 1.0, 0.95)),
    "hall": Lighting(((0.0, 0.1, 2.4, 0.2), (1.0, 0.1, 2.4, 0.2), (0.0, 0.9, 2.4, 0.2), (1.0, 0.9, 2.4, 0.2)), 0.44),
    "window": Lighting(((-1.2, 0.3, 1.9, 0.6), (0.6, 0.9, 2.2, 0.3)), 0.40, (0.97, 1.0, 1.05)),
    "spot": Lighting(((0.5, 0.5, 1.7, 0.7),), 0.36, (1.03, 1.0, 0.93)),
}

# Five columns by seven rows a digit.
_DIGITS = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
}

Look = TypeVar("Look")


def look(looks: Mapping[str, Look], kind: str, name: str) -> Look:
    """Returns the look called ``name``.

    Raises:
      ConfigError: the name is unknown; the message lists the known ones.
    """
    if name not in looks:
        raise ConfigError(f"Unknown {kind} '{name}'; allowed are {', '.join(looks)}.{nearest(name, looks)}")
    return looks[name]


def rgb(color: tuple[float, float, float]) -> np.ndarray:
    """Returns the colour as float32 [3, 1], to broadcast over pixels [3, n]."""
    return np.array(color, np.float32)[:, None]


def bitmap(number: str) -> np.ndarray:
    """Returns the digits of ``number`` side by side, one empty column between them, bool [7, 6 n - 1]."""
    digits = [np.array([list(map(int, row)) for row in _DIGITS[digit].split()], bool) for digit in number]
    return np.concatenate([np.pad(digit, ((0, 0), (0, 1))) for digit in digits], 1)[:, :-1]
