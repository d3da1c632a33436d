"""A shot before it is played, and the placing of balls that do not overlap."""

import dataclasses

import numpy as np

from hilight_jax.billiards.physics.simulation import Strike
from hilight_jax.billiards.physics.table import Table

CANDIDATES = 200  # Places drawn for the balls of a shot; far more than are needed.


@dataclasses.dataclass(frozen=True)
class Setup:
    """The start of a shot.

    Attributes:
      game: 'eight_ball' or 'nine_ball'.
      ball_ids: 'cue' first, then numbers as strings.
      positions: [n, 2] metres.
      strike: the strike of the cue ball; without the cue ball in the picture, the push that sets another ball rolling.
      focus: [2] the point of the table in the middle of a close camera's picture, metres.
      potted: balls that have left the table before the shot; their positions count for nothing.
    """

    game: str
    ball_ids: tuple[str, ...]
    positions: np.ndarray
    strike: Strike
    focus: np.ndarray
    potted: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The lowest object ball, which must be hit first in nine-ball."""
        return min(self.ball_ids[1:], key=int)


def apart(candidates: np.ndarray, count: int, gap: float, table: Table) -> np.ndarray:
    """Returns the first ``count`` candidates [k, 2] that lie on the cloth with their centres at least ``gap`` apart.

    Raises:
      RuntimeError: there are not so many.
    """
    chosen = fitting(candidates[table.holds(candidates)], count, gap)
    if chosen is None:
        raise RuntimeError(f"{count} balls do not fit at a distance of {gap} m; ask for fewer.")
    return chosen


def fitting(candidates: np.ndarray, count: int, gap: float) -> np.ndarray | None:
    """Returns the first ``count`` candidates [k, 2] at least ``gap`` apart, or None where there are not so many."""
    chosen = np.zeros((0, 2))
    for candidate in candidates:
        if (np.hypot(*(chosen - candidate).T) >= gap).all():
            chosen = np.concatenate([chosen, candidate[None]])
            if len(chosen) == count:
                return chosen
    return None


def angle_of(direction: np.ndarray) -> float:
    """Returns the angle of a direction [2] from the x axis toward the y axis, radians."""
    return float(np.arctan2(direction[1], direction[0]))
