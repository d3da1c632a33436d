"""Plays games of pool stroke by stroke: each stroke begins with the balls where the one before left them."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hilight_jax.billiards import setups
from hilight_jax.billiards.filming import random_rotations
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.physics.simulation import Strike, simulate
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.physics.trajectory import Shot
from hilight_jax.billiards.placing import CANDIDATES, Setup, angle_of
from hilight_jax.billiards.worlds import World

TABLE = Table()
_BREAKS = 0.3  # Share of the games that begin with a rack; the others with balls spread over the table.
_SPEEDS = (0.8, 3.2)  # Of the struck cue ball, m/s.
_TRIES = 200
_LIMIT = 30.0  # Seconds of one stroke's course.


class Turn(NamedTuple):
    """One stroke of a game.

    Attributes:
      setup: the balls before it, and the strike.
      shot: its course.
      rotations: [n, 3, 3] of the balls before it.
      moved: True if balls lie elsewhere than the stroke before left them: a new game, or the cue ball in hand.
    """

    setup: Setup
    shot: Shot
    rotations: np.ndarray
    moved: bool


def turns(world: World, rng: np.random.Generator) -> Iterator[Turn]:
    """Plays games without end; equal generators give equal turns."""
    while True:
        yield from _game(world, rng)


def _game(world: World, rng: np.random.Generator) -> Iterator[Turn]:
    layout = "rack" if rng.random() < _BREAKS else "table"
    most = len(world.balls) + 1
    opening = dataclasses.replace(world, plays=(), layouts=(layout,), num_balls=(min(5, most), min(8, most)))
    setup, moved = setups.draw(opening, None, TABLE, rng), True
    absent = tuple(ball for ball in setup.ball_ids[1:] if ball not in world.balls)  # A rack has fifteen balls.
    setup = dataclasses.replace(setup, potted=absent)
    rotations = random_rotations(len(setup.ball_ids), rng)
    while True:
        shot = simulate(TABLE, setup.ball_ids, setup.positions, setup.strike, _LIMIT, setup.potted)
        yield Turn(setup, shot, rotations, moved)
        end = shot.states([_LIMIT])
        rotations = shot.orientations([_LIMIT], rotations)[0]
        positions, on_table = end.positions[0], end.on_table[0].copy()
        moved = not on_table[0]
        if moved:
            positions, on_table = positions.copy(), on_table.copy()
            positions[0], on_table[0] = _free_place(positions, on_table, rng), True
        potted = tuple(ball for ball, there in zip(setup.ball_ids, on_table, strict=True) if not there)
        strike = _aim(setup, positions, on_table, rng)
        if strike is None or len(setup.ball_ids) - len(potted) < 3:
            return
        setup = dataclasses.replace(setup, positions=positions, strike=strike, potted=potted)


def _free_place(positions: np.ndarray, on_table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a place for the cue ball, away from the other balls."""
    places = rng.uniform(0.1, 0.9, (CANDIDATES, 2)) * (TABLE.width, TABLE.length)
    gaps = np.hypot(*np.moveaxis(places[:, None] - positions[on_table], -1, 0)).min(1, initial=9.0)
    return places[int(np.argmax(gaps > 4 * BALL_RADIUS))]


def _aim(setup: Setup, positions: np.ndarray, on_table: np.ndarray, rng: np.random.Generator) -> Strike | None:
    """Draws a strike at an object ball that the cue ball can reach, toward a pocket; None if none is found."""
    targets = np.flatnonzero(on_table[1:]) + 1
    if not len(targets):
        return None
    cue = positions[0]
    for attempt in range(_TRIES):
        target = int(pick(targets, rng))
        away = positions[target] - pick(TABLE.pockets, rng).center
        touching = positions[target] + 2 * BALL_RADIUS * away / np.hypot(*away)
        way = touching - cue
        thick = way @ (positions[target] - touching)
        if np.hypot(*way) < BALL_RADIUS or (thick <= 0.3 * np.hypot(*way) * 2 * BALL_RADIUS and attempt < _TRIES // 2):
            continue
        others = [positions[k] for k in np.flatnonzero(on_table) if k not in (0, target)]
        if attempt < _TRIES // 2 and any(_blocks(ball, cue, way) for ball in others):
            continue
        angle = angle_of(way) + rng.normal(0, 0.006)
        return Strike(rng.uniform(*_SPEEDS), angle, side=rng.uniform(-0.2, 0.2), top=rng.uniform(-0.3, 0.4))
    return None


def _blocks(ball: np.ndarray, start: np.ndarray, way: np.ndarray) -> bool:
    """Returns True if a ball lies in the way of another one that rolls along ``way`` from ``start``."""
    share = np.clip((ball - start) @ way / (way @ way), 0, 1)
    return bool(np.hypot(*(start + share * way - ball)) < 2 * BALL_RADIUS)
