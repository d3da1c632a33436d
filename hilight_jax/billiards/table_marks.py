"""Draws the marks of a clip's table: a baulk line, logos and chalk lines, tags on the rails, a projector's figures."""

import numpy as np

from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.placing import Setup
from hilight_jax.billiards.rendering.marks import TAG_BITS, Mark, Marks, Ring, Stroke, Tag
from hilight_jax.billiards.rendering.surfaces import CUSHION_WIDTH, RAIL_WIDTH
from hilight_jax.billiards.worlds import World

# sRGB, 0..255.
_INKS = ((16, 24, 20), (236, 236, 230), (210, 60, 50), (240, 200, 60), (40, 70, 170))
_LIGHTS = ((90, 230, 240), (255, 255, 255), (250, 230, 90), (240, 90, 200), (110, 250, 120), (255, 90, 80))
_BAULK, _ARC = 0.235, 0.164  # Share of the length, and of the width, of a snooker table's baulk line and its D.


def draw(world: World, setup: Setup, table: Table, rng: np.random.Generator) -> Marks:
    """Draws the marks of a clip; nothing is drawn at random for a kind of which the world has none.

    Each kind is in its share of the clips: ``world.printed``, ``world.projected`` and ``world.tags``.
    """
    return Marks(
        _printed(setup, table, rng) if _has(world.printed, rng) else (),
        _projected(setup, table, rng) if _has(world.projected, rng) else (),
        _tags(setup, table, rng) if _has(world.tags, rng) else (),
    )


def _has(share: float, rng: np.random.Generator) -> bool:
    return share > 0 and rng.random() < share


def _printed(setup: Setup, table: Table, rng: np.random.Generator) -> tuple[Mark, ...]:
    """A baulk line with its D, and a logo, a number of thin lines or spots near the middle of the picture."""
    ink, width = pick(_INKS, rng), rng.uniform(0.0008, 0.003)
    y = table.length * _BAULK
    middle, radius = np.array([table.width / 2, y]), table.width * _ARC
    marks: list[Mark] = [
        Stroke(np.array([0.0, y]), np.array([table.width, y]), width, ink, 0.7),
        Ring(middle, (radius - width, radius + width), ink, 0.7),
    ]
    for _ in range(rng.integers(1, 4)):
        place, color = _near(setup, rng), pick(_INKS, rng)
        kind = rng.integers(3)
        if kind == 0:
            outer = rng.uniform(0.008, 0.05)
            marks.append(Ring(place, (outer * pick((0.0, 0.7), rng), outer), color, rng.uniform(0.5, 1.0)))
        elif kind == 1:
            marks.append(Stroke(place, _near(setup, rng), rng.uniform(0.0008, 0.004), color, rng.uniform(0.4, 0.9)))
        else:
            bits = rng.random((TAG_BITS, TAG_BITS)) < 0.6
            marks.append(Tag(place, rng.uniform(0.04, 0.12), rng.uniform(0, np.pi), bits, color, rng.uniform(0.4, 0.9)))
    return tuple(marks)


def _projected(setup: Setup, table: Table, rng: np.random.Generator) -> tuple[Mark, ...]:
    """The planned way of a ball with its turns, rings around balls, and rings where they are to come to rest."""
    color, strength = pick(_LIGHTS, rng), rng.uniform(0.4, 1.0)
    half = rng.uniform(0.0012, 0.004)
    here = [setup.positions[k] for k, ball in enumerate(setup.ball_ids) if ball not in setup.potted]
    at = np.asarray(here[0], float)
    angle, marks = setup.strike.angle, list[Mark]()
    for _ in range(rng.integers(1, 5)):
        onward = at + rng.uniform(0.08, 0.5) * np.array([np.cos(angle), np.sin(angle)])
        onward = np.clip(onward, 0.0, (table.width, table.length))
        marks.append(Stroke(at, onward, half, color, strength))
        at, angle = onward, angle + rng.uniform(0.6, 2.6) * pick((-1, 1), rng)
    rings = [(place, rng.uniform(1.25, 2.2)) for place in here if rng.random() < 0.6]
    rings += [(at, rng.uniform(0.6, 1.1)), (_near(setup, rng), rng.uniform(0.6, 2.0))]
    for place, size in rings:
        radius = size * BALL_RADIUS
        marks.append(Ring(np.asarray(place, float), (radius - half, radius + half), color, strength))
    return tuple(marks)


def _tags(setup: Setup, table: Table, rng: np.random.Generator) -> tuple[Mark, ...]:
    """Tags on the rails, the first of them beside the middle of the picture."""
    out = CUSHION_WIDTH + RAIL_WIDTH / 2
    marks = []
    for number in range(rng.integers(1, 5)):
        x, y = setup.focus if number == 0 else rng.uniform(0, 1, 2) * (table.width, table.length)
        sides = ((-out, y), (table.width + out, y), (x, -out), (x, table.length + out))
        near = min(range(4), key=lambda k: np.hypot(sides[k][0] - x, sides[k][1] - y))
        place = np.array(sides[near]) + rng.normal(0, 0.02, 2) * ((0, 1) if near < 2 else (1, 0))
        bits = rng.random((TAG_BITS, TAG_BITS)) < 0.5
        marks.append(Tag(place, rng.uniform(0.035, 0.07), rng.uniform(-0.1, 0.1), bits))
    return tuple(marks)


def _near(setup: Setup, rng: np.random.Generator) -> np.ndarray:
    """Returns a place [2] that is often in the picture, metres."""
    return np.asarray(setup.focus, float) + rng.normal(0, 0.12, 2)
