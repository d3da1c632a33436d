"""The next contact of a moving ball with a cushion, the nose of one, a pocket's edge, or another ball."""

from functools import lru_cache
from math import hypot, inf
from typing import NamedTuple

from hilight_jax.billiards.physics.motion import Leg
from hilight_jax.billiards.physics.roots import Quartic, quadratic_closing, quartic_closing
from hilight_jax.billiards.physics.table import BALL_RADIUS, SIDES, Cushion, Table

TOUCHING = 1e-9  # gaps below this are contact, m

_DIAMETER = 2 * BALL_RADIUS
Box = tuple[float, float, float, float]  # smallest x, largest x, smallest y, largest y, m


class Wall(NamedTuple):
    """The face of a cushion: its start, its unit normal and its length."""

    name: str
    x: float
    y: float
    nx: float
    ny: float
    length: float


class Nose(NamedTuple):
    """The corner between a rail and a jaw."""

    x: float
    y: float
    radius: float  # of the circle that stops a ball's centre, m


class Hole(NamedTuple):
    """The drop edge of a pocket."""

    name: str
    x: float
    y: float
    radius: float


class Obstacles(NamedTuple):
    """A table as plain numbers, for the loops of this module."""

    width: float
    length: float
    rails: dict[str, list[Wall]]  # by the side of the table
    walls: tuple[Wall, ...]
    circles: tuple[Nose | Hole, ...]


@lru_cache(maxsize=16)
def obstacles(table: Table) -> Obstacles:
    """Returns everything on the table that a ball can meet."""
    noses = [Nose(*end.tolist(), radius=BALL_RADIUS) for rail in table.rails for end in (rail.start, rail.end)]
    holes = [Hole(pocket.name, *pocket.center.tolist(), radius=pocket.radius) for pocket in table.pockets]
    return Obstacles(
        table.width,
        table.length,
        {side: [_wall(piece) for piece in table.rails if piece.name == side] for side in SIDES},
        tuple(_wall(piece) for piece in table.cushions),
        (*noses, *holes),
    )


def reach(leg: Leg, duration: float) -> Box:
    """The box that holds the ball's centre during the leg."""
    return (*_span(leg.x, leg.vx, leg.ax, duration), *_span(leg.y, leg.vy, leg.ay, duration))


def table_contact(around: Obstacles, leg: Leg, limit: float) -> tuple[float, Wall | Nose | Hole | None]:
    """Returns the first obstacle on a ball's path: (seconds after the leg's start, the obstacle).

    Without one within ``limit`` s it is (limit, None). Nothing is nearer than one radius to the rectangle that balls
    can reach without touching a nose line, so a path that stays inside meets nothing, and one that leaves it onto the
    face of a rail meets that. Only paths into a pocket's mouth need more.
    """
    low_x, high_x, low_y, high_y = reach(leg, limit)
    left, right, bottom, top = BALL_RADIUS, around.width - BALL_RADIUS, BALL_RADIUS, around.length - BALL_RADIUS
    if leg.x < left - TOUCHING or leg.x > right + TOUCHING or leg.y < bottom - TOUCHING or leg.y > top + TOUCHING:
        return _nearest(around, leg, limit)
    time, side = limit, None
    for name, leaves, gap, rate, acceleration in (
        ("left", low_x <= left, leg.x - left, leg.vx, leg.ax),
        ("right", high_x >= right, right - leg.x, -leg.vx, -leg.ax),
        ("bottom", low_y <= bottom, leg.y - bottom, leg.vy, leg.ay),
        ("top", high_y >= top, top - leg.y, -leg.vy, -leg.ay),
    ):
        if leaves:
            closing = quadratic_closing(gap, rate, 0.5 * acceleration, TOUCHING, BALL_RADIUS)
            if closing < time:
                time, side = closing, name
    if side is None:
        return limit, None
    x = leg.x + time * (leg.vx + 0.5 * leg.ax * time)
    y = leg.y + time * (leg.vy + 0.5 * leg.ay * time)
    for rail in around.rails[side]:
        if 0 <= (x - rail.x) * rail.ny - (y - rail.y) * rail.nx <= rail.length:
            return time, rail
    return _nearest(around, leg, limit)


def ball_contact(one: Leg, other: Leg, now: float, limit: float) -> float:
    """Returns the seconds from now until two balls touch, within `limit`, or inf."""
    a, b = one.at(now), other.at(now)
    gap = _squared_gap(
        a.x - b.x, a.y - b.y, a.vx - b.vx, a.vy - b.vy, 0.5 * (one.ax - other.ax), 0.5 * (one.ay - other.ay), _DIAMETER
    )
    return quartic_closing(gap, limit, 2 * _DIAMETER * TOUCHING)


def face(target: Wall | Nose, x: float, y: float) -> tuple[str, float, float]:
    """(cushion's name, unit normal toward a ball that touches it at (x, y))."""
    if isinstance(target, Wall):
        return target.name, target.nx, target.ny
    nx, ny = x - target.x, y - target.y
    distance = hypot(nx, ny)
    return "jaw", nx / distance, ny / distance


def _nearest(around: Obstacles, leg: Leg, limit: float) -> tuple[float, Wall | Nose | Hole | None]:
    """The first contact among all walls, noses and holes."""
    first, met = limit, None
    for wall in around.walls:
        time = _wall_time(wall, leg)
        if time < first:
            first, met = time, wall
    low_x, high_x, low_y, high_y = reach(leg, first)
    for circle in around.circles:
        radius = circle.radius
        if low_x - radius <= circle.x <= high_x + radius and low_y - radius <= circle.y <= high_y + radius:
            dx, dy = leg.x - circle.x, leg.y - circle.y
            gap = _squared_gap(dx, dy, leg.vx, leg.vy, 0.5 * leg.ax, 0.5 * leg.ay, radius)
            time = quartic_closing(gap, first, 2 * radius * TOUCHING)
            if time < first:
                first, met = time, circle
    return first, met


def _wall(piece: Cushion) -> Wall:
    sx, sy = piece.start.tolist()
    nx, ny = piece.normal.tolist()
    length = (piece.end[0] - piece.start[0]) * ny - (piece.end[1] - piece.start[1]) * nx
    return Wall(piece.name, sx, sy, nx, ny, float(length))


def _wall_time(wall: Wall, leg: Leg) -> float:
    """Returns the time at which the ball touches the face of a wall, or inf if it passes beyond its ends."""
    _, sx, sy, nx, ny, length = wall
    dx, dy = leg.x - sx, leg.y - sy
    time = quadratic_closing(
        dx * nx + dy * ny - BALL_RADIUS,
        leg.vx * nx + leg.vy * ny,
        0.5 * (leg.ax * nx + leg.ay * ny),
        TOUCHING,
        BALL_RADIUS,
    )
    if time == inf:
        return inf
    dx += time * (leg.vx + 0.5 * leg.ax * time)
    dy += time * (leg.vy + 0.5 * leg.ay * time)
    return time if 0 <= dx * ny - dy * nx <= length else inf


def _squared_gap(dx: float, dy: float, vx: float, vy: float, hx: float, hy: float, distance: float) -> Quartic:
    """|d + v t + h t^2|^2 - distance^2 as a polynomial of t."""
    return (
        dx * dx + dy * dy - distance * distance,
        2 * (dx * vx + dy * vy),
        vx * vx + vy * vy + 2 * (dx * hx + dy * hy),
        2 * (vx * hx + vy * hy),
        hx * hx + hy * hy,
    )


def _span(start: float, velocity: float, acceleration: float, duration: float) -> tuple[float, float]:
    """Smallest and largest value of a quadratic over [0, duration]; an unmoving ball may last forever."""
    if velocity == 0 and acceleration == 0:
        return start, start
    end = start + duration * (velocity + 0.5 * acceleration * duration)
    low, high = (start, end) if start < end else (end, start)
    if velocity * acceleration < 0 and -velocity / acceleration < duration:
        turn = start - 0.5 * velocity * velocity / acceleration
        low, high = min(low, turn), max(high, turn)
    return low, high
