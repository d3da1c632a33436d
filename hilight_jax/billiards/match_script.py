"""Writes the script of a match: which camera shows what from when to when, as a broadcast or a phone would.

A script is a list of parts without gaps. Live parts follow the clocks of the strokes; a replay shows some seconds of a
stroke again, often slowly and from another camera, sometimes between two stings (short full-screen graphics); an
interlude shows no play.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.match_play import Turn

SOONEST = -1.0  # A replay begins at the earliest so long before the strike, seconds.
INTERLUDES = ("people", "graphic", "pan")


class Manner(NamedTuple):
    """The habits of one film's direction: shares of strokes, but for the last two.

    Attributes:
      replays: followed by a replay.
      cuts: during which the camera changes.
      views: that another camera shows from the beginning.
      interludes: preceded by an interlude.
      guests: before which an arm reaches over the table.
      has_sting: replays lie between stings.
      handheld: pixels by which the camera shakes; 0 on a tripod.
    """

    replays: float
    cuts: float
    views: float
    interludes: float
    guests: float
    has_sting: bool
    handheld: float


class Part(NamedTuple):
    """A part of the film.

    Attributes:
      kind: 'live', 'replay', 'sting' or one of `INTERLUDES`.
      start: seconds of the film.
      end: seconds of the film.
      view: number of the camera.
      turn: number of the stroke that is shown, or after which the table stands.
      clock: seconds of the stroke's clock at ``start``; 0 is the strike.
      speed: seconds of the stroke's clock in a second of film.
    """

    kind: str
    start: float
    end: float
    view: int
    turn: int
    clock: float
    speed: float


def draw_manner(rng: np.random.Generator) -> Manner:
    """Draws a film's habits: a broadcast with cameras, replays and graphics, or one camera, held or on a tripod."""
    if rng.random() < 0.65:
        return Manner(rng.uniform(0.1, 0.4), rng.uniform(0, 0.3), 0.15, 0.15, 0.2, bool(rng.random() < 0.5), 0.0)
    return Manner(0.0, 0.0, 0.0, 0.0, 0.4, False, rng.uniform(0.3, 0.8) if rng.random() < 0.5 else 0.0)


def write(
    turns: Iterator[Turn], seconds: float, manner: Manner, num_views: int, rng: np.random.Generator
) -> tuple[list[Part], list[Turn]]:
    """Writes a script of about ``seconds`` with the first of the turns; returns it with the turns that it shows."""
    parts: list[Part] = []
    played: list[Turn] = []

    def add(kind: str, length: float, view: int = 0, clock: float = 0.0, speed: float = 1.0) -> None:
        start = parts[-1].end if parts else 0.0
        parts.append(Part(kind, start, start + length, view, max(len(played) - 1, 0), clock, speed))

    for turn in turns:
        if parts and parts[-1].end > seconds:
            break
        played.append(turn)
        if turn.moved and len(played) > 1 or rng.random() < manner.interludes:
            for _ in range(rng.integers(1, 3)):
                add(pick(INTERLUDES, rng), rng.uniform(1.5, 7.0), int(rng.integers(num_views)))
        view = int(rng.integers(num_views)) if rng.random() < manner.views else 0
        wait, after = rng.uniform(4, 14), rng.uniform(0.8, 2.0)
        if rng.random() < manner.cuts and turn.shot.duration > 2:
            changes = rng.uniform(0.4, 1.5)
            add("live", wait + changes, view, -wait)
            add("live", turn.shot.duration + after - changes, _other(view, num_views, rng), changes)
        else:
            add("live", wait + turn.shot.duration + after, view, -wait)
        if rng.random() < manner.replays:
            if manner.has_sting:
                add("sting", 0.7)
            speed, before = pick((0.4, 0.6, 1.0), rng), rng.uniform(0.3, -SOONEST)
            again = view if rng.random() < 0.25 else _other(view, num_views, rng)
            until = min(turn.shot.duration + 0.3, rng.uniform(1.5, 4.0))
            add("replay", (before + until) / speed, again, -before, speed)
            if manner.has_sting:
                add("sting", 0.7)
    return parts, played


def _other(view: int, num_views: int, rng: np.random.Generator) -> int:
    return (view + int(rng.integers(1, num_views))) % num_views


def cuts(parts: list[Part]) -> list[float]:
    """Returns the seconds at which the picture changes abruptly."""
    return [
        after.start
        for before, after in itertools.pairwise(parts)
        if not (before.kind == after.kind == "live" and before.view == after.view)
    ]
