"""Patterns of the cloth: factors of its colour at points of the bed."""

from collections.abc import Callable

import numpy as np

from hilight_jax.billiards.rendering.looks import look

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]


def factors(texture: str, point: np.ndarray) -> np.ndarray:
    """Returns the factors [n] of the cloth's colour at points [>=2, n] of the bed, metres.

    Raises:
      ConfigError: the texture's name is unknown.
    """
    x, y = point[:2]
    return look(TEXTURES, "texture", texture)(x, y).astype(np.float32)


def _worn(x, y):
    """Blotches a hand wide, with faint tracks along the table."""
    blotches = np.sin(31 * x + 3 * np.sin(17 * y)) * np.sin(26 * y + 2 * np.sin(23 * x))
    return 1 + 0.09 * blotches + 0.05 * np.sin(170 * x + 4 * np.sin(6 * y))


def _striped(x, y):
    """Diagonal stripes, four centimetres from one to the next."""
    return 1 + 0.08 * np.sign(np.sin(2 * np.pi * (x + y) / 0.04))


def _chalked(x, y):
    """Light spots of chalk, a few centimetres wide."""
    spots = np.sin(47 * x + 2 * np.sin(19 * y)) + np.sin(53 * y + 2 * np.sin(29 * x))
    return 1 + 0.3 * np.clip(spots - 1.2, 0, 0.8)


def _checked(x, y):
    """A lattice of squares, five centimetres wide."""
    return 1 + 0.08 * np.sign(np.sin(np.pi * x / 0.05) * np.sin(np.pi * y / 0.05))


def _faded(x, y):
    """Broad bands, bleached across the table."""
    return 1 + 0.16 * np.sin(14 * y + 3 * np.sin(5 * x))


TEXTURES: dict[str, Pattern] = {
    "plain": lambda x, y: np.ones_like(x),
    "worn": _worn,
    "striped": _striped,
    "chalked": _chalked,
    "checked": _checked,
    "faded": _faded,
}
