"""Questions about places in the picture: where a ball is, in words of a 3 x 3 grid or as a point."""

import numpy as np

from hilight_jax.billiards.language.answers import COLUMNS, NOT_IN_VIEW, ROWS
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import Footage, Namer, ball_object
from hilight_jax.billiards.language.posed import Posed

_MARGIN = 0.03  # Share of the picture by which a ball must lie inside its cell of the grid.
_ABSENT_SHARE = 0.15  # Share of the questions for a place that name a ball that is not in view.


def place(footage: Footage, ball: str, frame: int) -> str | None:
    """Returns the cell of the grid that holds a ball: 'top left', 'top', ... 'middle'; None near a line of the grid."""
    shares = _shares(footage, ball, frame)
    cells = [int(min(max(share, 0), 0.999) * 3) for share in shares]
    if any(abs(share - line) < _MARGIN for share in shares for line in (1 / 3, 2 / 3)):
        return None
    column, row = cells
    return f"{ROWS[row]} {COLUMNS[column]}".strip() or "middle"


def point(footage: Footage, ball: str, frame: int, name: Namer) -> str:
    """Returns a ball's place as a point: x and y in percent of the picture, t in percent of the clip's length.

    A model that sees sampled frames does not know how many seconds lie between them.
    """
    x, y = (100 * share for share in _shares(footage, ball, frame))
    t = 100 * footage.times[frame] / footage.times[footage.last]
    return f'<point x="{x:.0f}" y="{y:.0f}" t="{t:.0f}">{name(ball)}</point>'


def where(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks where a ball is at the start or at the end; sometimes one that is not in view then."""
    if footage.size is None:
        return None
    when, frame = _moment(footage, rng)
    glimpsed = {ball for ball, track in footage.balls.items() if track.visible[frame] > 0}
    absent = [ball for ball in map(ball_object, name.pool) if ball not in glimpsed]
    if absent and rng.random() < _ABSENT_SHARE:
        return Posed("where", NOT_IN_VIEW, {"a": pick(absent, rng)}, when)
    placed = {ball: found for ball in footage.balls_seen(frame) if (found := place(footage, ball, frame))}
    if not placed:
        return None
    ball = pick(tuple(placed), rng)
    return Posed("where", placed[ball], {"a": ball}, when)


def point_at(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks for the coordinates of a ball at the start or at the end."""
    when, frame = _moment(footage, rng)
    inside = [ball for ball in footage.balls_seen(frame) if footage.size and _is_inside(footage, ball, frame)]
    if not inside:
        return None
    ball = pick(inside, rng)
    return Posed("point", point(footage, ball, frame, name), {"a": ball}, when)


def _moment(footage: Footage, rng: np.random.Generator) -> tuple[str, int]:
    return ("end", footage.last) if rng.integers(2) else ("start", 0)


def _shares(footage: Footage, ball: str, frame: int) -> tuple[float, float]:
    """Returns the place of a ball's centre as shares of the picture's width and height, from the top left."""
    assert footage.size is not None
    (width, height), found = footage.size, footage.balls[ball]
    return float(found.x[frame] / width), float(found.y[frame] / height)


def _is_inside(footage: Footage, ball: str, frame: int) -> bool:
    return all(0 <= share <= 1 for share in _shares(footage, ball, frame))
