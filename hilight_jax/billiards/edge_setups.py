"""Draws shots for cameras that look closely at the table's edge: at a pocket, at a rail, or a group of balls.

A runner is sent at a target. The runner is the cue ball, or an object ball in clips without the cue ball, which then
has been potted or lies out of the picture.
"""

from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.physics.simulation import Strike
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.placing import Setup, angle_of, apart

LAYOUTS = ("pocket", "rail", "group")
REACH = 0.2  # Radius around the focus in which balls lie, metres.
_FAR = 0.6  # Distance from the focus of a cue ball that is out of the picture, metres.
_GAP = 2.5 * BALL_RADIUS  # Smallest distance between balls' centres, metres.
_CANDIDATES = 120  # Places drawn for the other balls; far more than are needed.
_TRIES = 200


class _Idea(NamedTuple):
    """The middle of the picture, the runner's and the target's place, [2] each, metres, and the runner's way, rad."""

    focus: np.ndarray
    runner: np.ndarray
    target: np.ndarray
    angle: float


def draw(
    layout: str,
    ball_ids: tuple[str, ...],
    speed: tuple[float, float],
    has_cue_ball: bool,
    table: Table,
    rng: np.random.Generator,
) -> Setup:
    """Draws a shot.

    Args:
      layout: one of `LAYOUTS`.
      ball_ids: 'cue' and at least two others.
      speed: slowest and fastest speed of the runner, m/s.
      has_cue_ball: True if the cue ball is the runner; False if it is out of sight and the first other ball is.
      table: the table.
      rng: draws everything.
    """
    for _ in range(_TRIES):
        idea = {"pocket": _at_pocket, "rail": _at_rail, "group": _in_group}[layout](table, rng)
        around = idea.focus + REACH * _in_disc(_CANDIDATES, rng)
        candidates = np.concatenate([[idea.runner, idea.target], around])
        if np.hypot(*(idea.runner - idea.target)) < _GAP or not table.holds(candidates[:2]).all():
            continue
        strike = Strike(rng.uniform(*speed), idea.angle, top=rng.uniform(-0.1, 0.3), ball=0 if has_cue_ball else 1)
        if has_cue_ball:
            positions, potted = apart(candidates, len(ball_ids), _GAP, table), ()
        else:
            potted = ("cue",) if rng.integers(2) else ()
            far = _far_from(idea.focus, table, rng)
            positions = np.concatenate([[far], apart(candidates, len(ball_ids) - 1, _GAP, table)])
        return Setup("eight_ball", ball_ids, positions, strike, idea.focus, potted)
    raise RuntimeError(f"no shot of the layout '{layout}' fits on {table}.")


def _at_pocket(table: Table, rng: np.random.Generator) -> _Idea:
    """Plays the target at a pocket, well enough to pot it about half of the time."""
    pocket = pick(table.pockets, rng)
    inward = pocket.mouth.mean(0) - pocket.center
    inward /= np.hypot(*inward)
    focus = pocket.center + inward * rng.uniform(0.13, 0.19) + rng.normal(0, 0.015, 2)
    target = pocket.center + _turned(inward, rng.uniform(-0.7, 0.7)) * rng.uniform(0.13, 0.25)
    away = (target - pocket.center) / np.hypot(*(target - pocket.center))
    touching = target + 2 * BALL_RADIUS * away
    runner = touching + _turned(away, np.clip(rng.normal(0, 0.4), -0.9, 0.9)) * rng.uniform(0.06, 0.2)
    return _Idea(focus, runner, target, angle_of(touching - runner) + rng.normal(0, 0.05))


def _at_rail(table: Table, rng: np.random.Generator) -> _Idea:
    """Plays the target, or the runner itself, at a cushion."""
    rail = pick(table.rails, rng)
    along = rail.end - rail.start
    point = rail.start + along * rng.uniform(0.1, 0.9)
    focus = point + rail.normal * rng.uniform(0.1, 0.15)
    target = point + rail.normal * rng.uniform(0.05, 0.17) + along * rng.uniform(-0.12, 0.12)
    runner = target + _turned(rail.normal, rng.uniform(-1.0, 1.0)) * rng.uniform(0.1, 0.22)
    aim = target if rng.random() < 0.6 else point + along * rng.uniform(-0.15, 0.15)
    return _Idea(focus, runner, target, angle_of(aim - runner) + rng.normal(0, 0.06))


def _in_group(table: Table, rng: np.random.Generator) -> _Idea:
    """Plays the target anywhere on the table, the edge mostly in the picture."""
    size = np.array([table.width, table.length])
    focus = rng.uniform(0.12, 0.88, 2) * size
    focus[0] = pick((0.16, table.width - 0.16, focus[0]), rng)
    runner, target = focus + REACH * _in_disc(2, rng)
    return _Idea(focus, runner, target, angle_of(target - runner) + rng.normal(0, 0.06))


def _far_from(focus: np.ndarray, table: Table, rng: np.random.Generator) -> np.ndarray:
    """Returns a place [2] on the cloth out of the picture, metres."""
    margin = 2 * BALL_RADIUS
    while True:
        place = rng.uniform(margin, [table.width - margin, table.length - margin])
        if np.hypot(*(place - focus)) > _FAR and table.holds(place[None]).all():
            return place


def _in_disc(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws points [count, 2] of the unit disc, uniformly."""
    around = rng.uniform(0, 2 * np.pi, count)
    return np.sqrt(rng.random(count))[:, None] * np.stack([np.cos(around), np.sin(around)], -1)


def _turned(direction: np.ndarray, angle: float) -> np.ndarray:
    """Returns a direction [2] turned by an angle, radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * direction[0] - sin * direction[1], sin * direction[0] + cos * direction[1]])
