"""Draws the pictures of a match that show no play: people, score graphics, stings; and shakes a held camera."""

import numpy as np
from PIL import Image, ImageDraw

from hilight_jax.billiards.rendering.looks import bitmap


def graphic(width: int, height: int, seed: int, clock: float) -> np.ndarray:
    """Returns a full-screen score table, uint8 [Y, X, 3], whose rows slide in over a second."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), _color(rng, 15, 90))
    draw, row = ImageDraw.Draw(image), height // 6
    for k in range(4):
        left = int(width * (0.12 + 0.9 * max(0.0, 1 - 1.5 * clock + 0.2 * k)))
        top = int(row * (1 + 1.1 * k))
        draw.rectangle((left, top, left + int(0.76 * width), top + int(0.9 * row)), fill=_color(rng, 30, 220))
        digits = np.kron(bitmap(str(rng.integers(0, 99))), np.ones((2, 2)))
        mask = Image.fromarray((255 * digits).astype(np.uint8))
        image.paste((245, 245, 240), (left + int(0.6 * width), top + max((row - 16) // 2, 0)), mask)
    return np.asarray(image)


def sting(width: int, height: int, seed: int, clock: float) -> np.ndarray:
    """Returns the graphic around a replay, the same at every showing: bands that sweep over the picture."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), _color(rng, 100, 250))
    draw = ImageDraw.Draw(image)
    for k in range(3):
        middle = width * (2.2 * clock - 0.3 + 0.25 * k)
        lean = height / 3
        corners = ((-20 + lean, 0), (20 + lean, 0), (20 - lean, height), (-20 - lean, height))
        draw.polygon([(middle + x, y) for x, y in corners], fill=_color(rng, 0, 255))
    return np.asarray(image)


def people(width: int, height: int, seed: int, clock: float) -> np.ndarray:
    """Returns spectators or a player from near: bodies and heads that sway before a dim hall."""
    rng = np.random.default_rng(seed)
    hall = np.linspace(rng.uniform(20, 60), rng.uniform(50, 110), height)[:, None, None] * rng.uniform(0.6, 1.0, 3)
    image = Image.fromarray(np.broadcast_to(hall, (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 6)):
        size = height * rng.uniform(0.2, 0.5)
        x = width * rng.uniform(0.05, 0.95) + size * 0.3 * np.sin(clock * rng.uniform(0.5, 2.5) + rng.uniform(0, 6))
        y = height * rng.uniform(0.35, 0.6) + size * 0.05 * np.sin(clock * rng.uniform(1, 3))
        draw.ellipse((x - 0.9 * size, y + 0.4 * size, x + 0.9 * size, y + 3 * size), fill=_color(rng, 20, 200))
        draw.ellipse((x - 0.4 * size, y - 0.5 * size, x + 0.4 * size, y + 0.5 * size), fill=(200, 150, 120))
    return np.asarray(image)


def shaken(frame: np.ndarray, pixels: float, clock: float, seed: int) -> np.ndarray:
    """Shifts a frame as a hand that holds the camera does: a sum of slow and fast swings of some pixels."""
    swings = np.random.default_rng(seed).uniform((0.3, 0.0), (4.0, 6.3), (2, 4, 2))
    right, down = (
        sum(pixels * np.sin(2 * np.pi * rate * clock + phase) / np.sqrt(rate) for rate, phase in axis)
        for axis in swings
    )
    height, width = frame.shape[:2]
    padded = np.pad(frame, ((4, 4), (4, 4), (0, 0)), mode="edge")
    moved = Image.fromarray(padded).transform(
        (width, height), Image.Transform.AFFINE, (1, 0, 4 + right, 0, 1, 4 + down), Image.Resampling.BILINEAR
    )
    return np.asarray(moved)


def _color(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = rng.integers(low, high, 3)
    return int(red), int(green), int(blue)
