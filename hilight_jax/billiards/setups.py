"""Draws the beginning of a shot: the game, the balls, their places, and the strike of the cue ball."""

import numpy as np

from hilight_jax.billiards import edge_setups
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.physics.simulation import Strike
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.placing import CANDIDATES, Setup, angle_of, apart
from hilight_jax.billiards.worlds import World

_CLOSE = 0.165  # Radius of the circle of the layout 'close', metres: what a close camera has in view.


def draw(world: World, play: tuple[str, str] | None, table: Table, rng: np.random.Generator) -> Setup:
    """Draws a setup of a world, for an act and a layout of `World.plays` where it has plays."""
    game, layout = pick(world.games, rng), play[1] if play else pick(world.layouts, rng)
    if layout == "rack":
        return _rack(game, world, table, rng)
    numbers = [ball for ball in world.balls if game == "eight_ball" or int(ball) <= 9]
    count = int(rng.integers(world.num_balls[0], min(world.num_balls[1], len(numbers) + 1) + 1))
    numbers = [numbers[k] for k in rng.permutation(len(numbers))[: count - 1]]
    if game == "nine_ball":
        numbers.sort(key=int)  # The first object ball is the one that the cue ball goes for.
    ball_ids = ("cue", *numbers)
    if play:
        return edge_setups.draw(*play, ball_ids, world, table, rng)
    return (_close if layout == "close" else _scattered)(game, ball_ids, world, table, rng)


def _close(game: str, ball_ids: tuple[str, ...], world: World, table: Table, rng: np.random.Generator) -> Setup:
    """Balls within a small circle, the cue ball played straight at the first."""
    size = np.array([table.width, table.length])
    focus = rng.uniform([0.35, 0.3], [0.65, 0.7]) * size
    reach = _CLOSE * np.sqrt(rng.random(CANDIDATES))[:, None]
    around = rng.uniform(0, 2 * np.pi, CANDIDATES)
    candidates = focus + reach * np.stack([np.cos(around), np.sin(around)], -1)
    positions = apart(candidates, len(ball_ids), 2.65 * BALL_RADIUS, table)
    angle = angle_of(positions[1] - positions[0]) + rng.normal(0, 0.05)
    return Setup(game, ball_ids, positions, Strike(rng.uniform(*world.close_speed), angle), focus)


def _scattered(game: str, ball_ids: tuple[str, ...], world: World, table: Table, rng: np.random.Generator) -> Setup:
    """Balls anywhere, the first played at a pocket: the cue ball aims at where it must be when they touch."""
    size = np.array([table.width, table.length])
    positions = apart(rng.uniform(0, size, (CANDIDATES, 2)), len(ball_ids), 2.8 * BALL_RADIUS, table)
    pocket = pick(table.pockets, rng).center
    away = positions[1] - pocket
    touching = positions[1] + 2 * BALL_RADIUS * away / np.hypot(*away)
    angle = angle_of(touching - positions[0]) + rng.normal(0, 0.004)
    strike = Strike(rng.uniform(*world.speed), angle, side=rng.uniform(-0.2, 0.2), top=rng.uniform(-0.3, 0.4))
    return Setup(game, ball_ids, positions, strike, positions[1])


def _rack(game: str, world: World, table: Table, rng: np.random.Generator) -> Setup:
    """The opening break: a triangle of fifteen or a diamond of nine, apex on the foot spot, a hard shot at the apex."""
    rows = (1, 2, 3, 4, 5) if game == "eight_ball" else (1, 2, 3, 2, 1)
    pitch = 2 * BALL_RADIUS + 2e-4  # Balls of a rack lie a fifth of a millimetre apart, not in contact.
    spots = [(k - (row - 1) / 2, depth * np.sqrt(0.75)) for depth, row in enumerate(rows) for k in range(row)]
    numbers = [str(number) for number in rng.permutation(np.arange(1, 16 if game == "eight_ball" else 10))]
    middle = 4  # The place behind the apex that the 8-ball, or the 9-ball of nine-ball, must have.
    fixed = {middle: "8"} if game == "eight_ball" else {0: "1", middle: "9"}
    for place, number in fixed.items():
        other = numbers.index(number)
        numbers[place], numbers[other] = numbers[other], numbers[place]
    foot = np.array([table.width / 2, 0.75 * table.length])
    cue = np.array([table.width * rng.uniform(0.3, 0.7), table.length * rng.uniform(0.15, 0.25)])
    positions = np.concatenate([cue[None], foot + pitch * np.array(spots)])
    strike = Strike(rng.uniform(4, 7), angle_of(foot - cue) + rng.normal(0, 0.01))
    return Setup(game, ("cue", *numbers), positions, strike, foot)
