"""Draws shots for cameras that look closely at the table's edge: at a pocket, at a rail, or a group of balls.

A runner is sent at a target. The runner is the cue ball, or an object ball in clips without the cue ball, which then
has been potted or lies out of the picture.
"""

from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.physics.simulation import Strike
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.placing import Setup, angle_of, fitting
from hilight_jax.billiards.staging import WITHOUT_CUE_BALL
from hilight_jax.billiards.worlds import World

REACH = 0.165  # Radius around the focus in which balls lie, metres.
_RAIL_PACE = 0.8  # of a world's speeds: slow enough for the way to a cushion and back to stay in the picture.
_KICKS = 0.75  # Share of the shots at a rail in which the runner goes for the cushion.
_FAR = 0.6  # Distance from the focus of a cue ball that is out of the picture, metres.
_GAP = 2.5 * BALL_RADIUS  # Smallest distance between balls' centres, metres.
_MARGIN = 0.12  # Metres from the rails at which a ball is clear of every pocket.
# Metres that the runner has to go to the target; long where its way is all that there is to see.
_WAY, _LONG_WAY = (0.05, 0.17), (0.13, 0.2)
_CANDIDATES = 40  # Places drawn for the other balls.
_TRIES = 200


class _Idea(NamedTuple):
    """The middle of the picture, the runner's and the target's place, [2] each, metres, and the runner's way, rad."""

    focus: np.ndarray
    runner: np.ndarray
    target: np.ndarray
    angle: float


def draw(
    act: str, layout: str, ball_ids: tuple[str, ...], world: World, table: Table, rng: np.random.Generator
) -> Setup:
    """Draws the shot of an act and a layout of `World.plays`.

    ``ball_ids`` are 'cue' and at least two others. In the acts 'rolling' and 'rest' the cue ball is out of sight and
    the first of the others is the runner.
    """
    has_cue_ball = act not in WITHOUT_CUE_BALL
    slowest, fastest = world.early_speed if act == "early" else world.close_speed
    pace = _RAIL_PACE if layout == "rail" else 1.0
    way = _LONG_WAY if act == "early" else _WAY
    for _ in range(_TRIES):
        idea = _LAYOUTS[layout](way, table, rng)
        around = idea.focus + REACH * _in_disc(_CANDIDATES, rng)
        candidates = np.concatenate([[idea.runner, idea.target], around])
        on_cloth = table.holds(candidates)
        if not on_cloth[:2].all() or np.hypot(*(idea.runner - idea.target)) < _GAP:
            continue
        placed = fitting(candidates[on_cloth], len(ball_ids) - (not has_cue_ball), _GAP)
        if placed is None:
            continue
        speed = pace * rng.uniform(slowest, fastest)
        strike = Strike(speed, idea.angle, top=rng.uniform(-0.1, 0.3), ball=0 if has_cue_ball else 1)
        if has_cue_ball:
            return Setup("eight_ball", ball_ids, placed, strike, idea.focus)
        positions = np.concatenate([[_far_from(idea.focus, table, rng)], placed])
        return Setup("eight_ball", ball_ids, positions, strike, idea.focus, ("cue",) if rng.integers(2) else ())
    raise RuntimeError(f"no shot of the layout '{layout}' fits on {table}.")


def _at_pocket(way: tuple[float, float], table: Table, rng: np.random.Generator) -> _Idea:
    """Plays the target at a pocket, well enough to pot it more often than not."""
    pocket = pick(table.pockets, rng)
    inward = pocket.mouth.mean(0) - pocket.center
    inward /= np.hypot(*inward)
    target = pocket.center + _turned(inward, rng.uniform(-0.7, 0.7)) * rng.uniform(0.11, 0.2)
    away = (target - pocket.center) / np.hypot(*(target - pocket.center))
    touching = target + 2 * BALL_RADIUS * away
    runner = touching + _turned(away, np.clip(rng.normal(0, 0.4), -0.9, 0.9)) * rng.uniform(*way)
    middle = (runner - pocket.center) / 2
    focus = pocket.center + middle * np.clip(0.15 / np.hypot(*middle), 0.8, 1.25) + rng.normal(0, 0.012, 2)
    return _Idea(focus, runner, target, angle_of(touching - runner) + rng.normal(0, 0.04))


def _at_rail(way: tuple[float, float], table: Table, rng: np.random.Generator) -> _Idea:
    """Plays the target, or the runner itself, at a cushion."""
    rail = pick(table.rails, rng)
    along = (rail.end - rail.start) / np.hypot(*(rail.end - rail.start))
    point = rail.start + (rail.end - rail.start) * rng.uniform(0.1, 0.9)
    focus = point + rail.normal * rng.uniform(0.11, 0.15)
    if rng.random() < _KICKS:
        runner = point + _turned(rail.normal, rng.uniform(-0.8, 0.8)) * rng.uniform(0.16, 0.27)
        target = point + rail.normal * rng.uniform(0.05, 0.2) + along * pick((-1, 1), rng) * rng.uniform(0.07, 0.15)
        return _Idea(focus, runner, target, angle_of(point - runner) + rng.normal(0, 0.1))
    target = point + rail.normal * rng.uniform(0.09, 0.15) + along * rng.uniform(-0.1, 0.1)
    runner = target + _turned(rail.normal, rng.uniform(-0.9, 0.9)) * (_GAP + rng.uniform(*way))
    return _Idea(focus, runner, target, angle_of(target - runner) + rng.normal(0, 0.08))


def _in_group(way: tuple[float, float], table: Table, rng: np.random.Generator) -> _Idea:
    """Plays the target anywhere on the table, the edge mostly in the picture."""
    size = np.array([table.width, table.length])
    focus = rng.uniform(0.12, 0.88, 2) * size
    focus[0] = pick((0.13, table.width - 0.13, focus[0]), rng)
    middle = focus + 0.3 * REACH * _in_disc(1, rng)[0]
    half = _turned(np.array([1.0, 0.0]), rng.uniform(0, 2 * np.pi)) * (_GAP + rng.uniform(*way)) / 2
    runner, target = middle - half, middle + half
    return _Idea(focus, runner, target, angle_of(target - runner) + rng.normal(0, 0.06))


_LAYOUTS = {"pocket": _at_pocket, "rail": _at_rail, "group": _in_group}


def _far_from(focus: np.ndarray, table: Table, rng: np.random.Generator) -> np.ndarray:
    """Returns a place [2] on the cloth out of the picture, metres."""
    while True:
        place = rng.uniform(_MARGIN, [table.width - _MARGIN, table.length - _MARGIN])
        if np.hypot(*(place - focus)) > _FAR:
            return place


def _in_disc(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws points [count, 2] of the unit disc, uniformly."""
    around = rng.uniform(0, 2 * np.pi, count)
    return np.sqrt(rng.random(count))[:, None] * np.stack([np.cos(around), np.sin(around)], -1)


def _turned(direction: np.ndarray, angle: float) -> np.ndarray:
    """Returns a direction [2] turned by an angle, radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * direction[0] - sin * direction[1], sin * direction[0] + cos * direction[1]])
