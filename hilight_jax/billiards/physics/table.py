"""The pool table: its cushions, jaws and pockets, seen from above.

Lengths are metres. x runs across the table, 0 at the left cushion's nose; y runs along it, 0 at the bottom cushion's
nose. The outline is walked counter-clockwise, so that the cloth always lies on the left hand of a cushion's direction.
Names (left, top-right, ...) are the table's own; commentary renames them by what the image shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hilight_jax.core.errors import UserError

BALL_RADIUS = 0.028575  # 2 1/4 inches across
SIDES = ("left", "right", "bottom", "top")

CORNER_MOUTH = 0.090675  # from the corner of the nose lines to a nose, along each rail
SIDE_MOUTH = 0.075  # half the distance between the noses of a side pocket
CORNER_CENTER = 0.0206  # how far a corner pocket's centre lies outside each nose line
SIDE_CENTER = 0.0685  # how far a side pocket's centre lies outside its nose line
CORNER_RADIUS = 0.062
SIDE_RADIUS = 0.0645
CORNER_JAW = (0.07, 1.0)  # (length of a jaw, advance along the rail per step outward)
SIDE_JAW = (0.05, 0.25)

SMALLEST_TABLE = 0.5
LARGEST_TABLE = 4.0


@dataclass(frozen=True, eq=False)
class Pocket:
    """A hole in the slate: a ball whose centre passes its edge falls.

    Attributes:
        name: Such as 'top-left' or 'right-side'.
        center: float [2], the middle of the hole, m.
        radius: Radius of the drop edge, m.
        mouth: float [2, 2], the noses on both sides, counter-clockwise, m. A ball past the line between them is in the
            jaws.
    """

    name: str
    center: np.ndarray
    radius: float
    mouth: np.ndarray

    def in_jaws(self, position: Sequence[float]) -> bool:
        """Returns True if a ball centred at `position` lies past the line between the noses, on the pocket's side."""
        (x0, y0), (x1, y1) = self.mouth.tolist()
        x, y = position
        across, out = (x1 - x0, y1 - y0), (x - x0, y - y0)
        past = across[0] * out[1] - across[1] * out[0] < 0
        along = across[0] * out[0] + across[1] * out[1]
        return bool(past and 0 <= along <= across[0] ** 2 + across[1] ** 2)


@dataclass(frozen=True, eq=False)
class Cushion:
    """A straight piece of rubber.

    Attributes:
        name: 'left', 'right', 'top', 'bottom', or 'jaw' for a side of a pocket's mouth.
        start: float [2], m.
        end: float [2], m.
        normal: float [2], unit vector toward the balls.
    """

    name: str
    start: np.ndarray
    end: np.ndarray
    normal: np.ndarray


@dataclass(frozen=True)
class Table:
    """A table with six pockets; nine feet long by default.

    Attributes:
        width: Distance between the noses of the left and right cushions, m.
        length: Distance between the noses of the bottom and top cushions, m.
    """

    width: float = 0.9906
    length: float = 1.9812

    def __post_init__(self):
        for name, value in (("width", self.width), ("length", self.length)):
            if not SMALLEST_TABLE <= value <= LARGEST_TABLE:
                raise UserError(
                    f"A table's {name} of {value} m cannot be played on: give {SMALLEST_TABLE} to {LARGEST_TABLE} m."
                )

    @cached_property
    def rails(self) -> tuple[Cushion, ...]:
        """The six cushions between the pockets, counter-clockwise from the bottom one."""
        w, y, c, s = self.width, self.length, CORNER_MOUTH, SIDE_MOUTH
        return (
            _cushion("bottom", (c, 0), (w - c, 0)),
            _cushion("right", (w, c), (w, y / 2 - s)),
            _cushion("right", (w, y / 2 + s), (w, y - c)),
            _cushion("top", (w - c, y), (c, y)),
            _cushion("left", (0, y - c), (0, y / 2 + s)),
            _cushion("left", (0, y / 2 - s), (0, c)),
        )

    @cached_property
    def pockets(self) -> tuple[Pocket, ...]:
        """The six pockets, counter-clockwise; pocket k lies between rail k and the next."""
        w, y, c, s = self.width, self.length, CORNER_CENTER, SIDE_CENTER
        holes = (
            ("bottom-right", (w + c, -c), CORNER_RADIUS),
            ("right-side", (w + s, y / 2), SIDE_RADIUS),
            ("top-right", (w + c, y + c), CORNER_RADIUS),
            ("top-left", (-c, y + c), CORNER_RADIUS),
            ("left-side", (-s, y / 2), SIDE_RADIUS),
            ("bottom-left", (-c, -c), CORNER_RADIUS),
        )
        following = self.rails[1:] + self.rails[:1]
        return tuple(
            Pocket(name, np.array(center, float), radius, np.stack([rail.end, after.start]))
            for (name, center, radius), rail, after in zip(holes, self.rails, following, strict=True)
        )

    @cached_property
    def cushions(self) -> tuple[Cushion, ...]:
        """Rails and jaws in counter-clockwise order: rail, jaw into the pocket, jaw out of it, next rail, ..."""
        pieces = []
        following = self.rails[1:] + self.rails[:1]
        for rail, after, pocket in zip(self.rails, following, self.pockets, strict=True):
            jaw = SIDE_JAW if pocket.name.endswith("side") else CORNER_JAW
            deep_in = rail.end + _jaw(_direction(rail), -rail.normal, jaw)
            deep_out = after.start + _jaw(-_direction(after), -after.normal, jaw)
            pieces += [rail, _cushion("jaw", rail.end, deep_in), _cushion("jaw", deep_out, after.start)]
        return tuple(pieces)

    @cached_property
    def outline(self) -> np.ndarray:
        """The closed polygon along all cushions and straight across the backs of the pockets, float [K, 2], m."""
        return np.array([point for piece in self.cushions for point in (piece.start, piece.end)])

    def holds(self, positions: np.ndarray) -> np.ndarray:
        """Returns bool [n]: True for centres [n, 2] (m) where a ball can lie.

        That is inside the outline, clear of the cushions, not over a hole. A ball may touch a cushion (one micrometre
        of slack).
        """
        starts = np.array([piece.start for piece in self.cushions])
        sides = np.array([piece.end - piece.start for piece in self.cushions])
        out = positions[:, None] - starts
        along = np.clip((out * sides).sum(-1) / (sides**2).sum(-1), 0, 1)
        clear = np.hypot(*np.moveaxis(out - along[..., None] * sides, -1, 0)).min(1) >= BALL_RADIUS - 1e-6
        holes = np.array([pocket.center for pocket in self.pockets])
        edges = np.array([pocket.radius for pocket in self.pockets])
        supported = (np.hypot(*np.moveaxis(positions[:, None] - holes, -1, 0)) > edges).all(1)
        return clear & supported & _inside(self.outline, positions)


def _cushion(name: str, start, end) -> Cushion:
    start, end = np.array(start, float), np.array(end, float)
    x, y = (end - start) / np.hypot(*(end - start))
    return Cushion(name, start, end, np.array([-y, x]))


def _direction(piece: Cushion) -> np.ndarray:
    return np.array([piece.normal[1], -piece.normal[0]])


def _jaw(along: np.ndarray, outward: np.ndarray, shape: tuple[float, float]) -> np.ndarray:
    """From a nose to the deep end of its jaw, float [2], m."""
    length, advance = shape
    heading = outward + advance * along
    return length * heading / np.hypot(*heading)


def _inside(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns True for points [n, 2] in a polygon [K, 2]: an odd number of its sides is to the right of them."""
    x0, y0 = polygon.T
    x1, y1 = np.roll(polygon, -1, 0).T
    x, y = points[:, :1], points[:, 1:]
    straddles = (y0 > y) != (y1 > y)
    crossing = x0 + (y - y0) / np.where(y1 == y0, 1, y1 - y0) * (x1 - x0)
    return (straddles & (x < crossing)).sum(1) % 2 == 1
