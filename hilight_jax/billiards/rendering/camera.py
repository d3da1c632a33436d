"""A pinhole camera, and the named places around the table from which a shot is filmed.

World: metres, x along the table's width, y along its length, z up, the bed at z = 0.
Camera: x right, y down, z forward (the depth). Picture: pixels, x right, y down, (0, 0) the outer corner of the first
pixel, so that the centre of pixel [row, column] is (column + 0.5, row + 0.5).
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.core.errors import ConfigError, nearest

NEAR = 0.05  # metres; nothing closer to the eye is drawn
RAILS = 0.16  # metres from the playing area to the table's outer edge


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera at ``eye``, directed at ``target``.

    Attributes:
      eye: position, metres.
      target: the point in the middle of the picture, metres.
      up: the direction that is up in the picture; need not be perpendicular to the view, must not be parallel to it.
      field_of_view: horizontal angle of the picture, degrees.
      width: columns of the picture.
      height: rows of the picture.
    """

    eye: Sequence[float]
    target: Sequence[float]
    up: Sequence[float]
    field_of_view: float
    width: int
    height: int

    @functools.cached_property
    def axes(self) -> np.ndarray:
        """Rows: the camera's right, down and forward directions in the world. float64 [3, 3]."""
        return _axes(np.subtract(self.target, self.eye), self.up)

    @functools.cached_property
    def focal(self) -> float:
        """Focal length in pixels: a thing of size s at depth z is s * focal / z pixels large."""
        return 0.5 * self.width / np.tan(np.radians(self.field_of_view) / 2)

    def view(self, points: np.ndarray) -> np.ndarray:
        """Returns world points [..., 3] in the camera's own coordinates [..., 3]: right, down, forward, metres."""
        return (np.asarray(points, np.float64) - self.eye) @ self.axes.T

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Projects world points [..., 3], metres, into the picture.

        Returns:
          Pixels [..., 2] (x, y; NaN for points that are not in front of the camera) and depth [...] in metres.
        """
        x, y, depth = np.moveaxis(self.view(points), -1, 0)
        scale = self.focal / np.where(depth > 0, depth, np.nan)
        return np.stack([x * scale + self.width / 2, y * scale + self.height / 2], -1), depth

    def slopes(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the right and down components of the ray through a pixel position, per unit of depth. float32."""
        right = (np.asarray(x) - self.width / 2) / self.focal
        down = (np.asarray(y) - self.height / 2) / self.focal
        return right.astype(np.float32), down.astype(np.float32)

    def sphere_bounds(self, center: np.ndarray, radius: float) -> tuple[float, float, float, float] | None:
        """Returns the exact bounding box of a sphere's outline (an ellipse): left, top, right, bottom in pixels.

        The two tangents from the eye in the plane of one picture axis and the view axis have the slopes
        (c z +- r sqrt(c^2 + z^2 - r^2)) / (z^2 - r^2). None when the sphere comes closer than ``NEAR``.
        """
        x, y, depth = self.view(center)
        if depth - radius < NEAR:
            return None
        bounds = []
        for c, middle in ((x, self.width / 2), (y, self.height / 2)):
            reach = radius * np.sqrt(c * c + depth * depth - radius * radius)
            scale = self.focal / (depth * depth - radius * radius)
            bounds.append((middle + (c * depth - reach) * scale, middle + (c * depth + reach) * scale))
        (left, right), (top, bottom) = bounds
        return left, top, right, bottom


@dataclasses.dataclass(frozen=True)
class View:
    """The range of cameras that one name stands for. Angles in degrees, each drawn uniformly.

    Attributes:
      elevation: of the eye above the table's plane, seen from the target.
      azimuths: directions from the target to the eye, one of them drawn; 0 is +x, 90 is +y, None is any.
      spread: largest deviation from the azimuth drawn.
      field_of_view: horizontal angle of the picture.
      roll: largest rotation of the picture, to either side.
      ball_radius: radius of a ball at the focus, in pixels of a picture whose shorter side has 64; None: the eye is
        as near as it can be with the whole table in the picture.
      least_roll: smallest rotation of the picture, to either side.
    """

    elevation: tuple[float, float]
    azimuths: tuple[float, ...] | None
    spread: float
    field_of_view: tuple[float, float]
    roll: float
    ball_radius: tuple[float, float] | None = None
    least_roll: float = 0


_ALONG_RAILS = (0, 90, 180, 270)
# In the close-ups and the last four views a ball anywhere in the picture has a radius of at least 4 pixels of 64, with
# few exceptions in the last four, which show as much of the table as that leaves room for.
VIEWS = {
    "close": View((68, 74), None, 0, (36, 44), 0, (4.7, 5.4)),
    "close_low": View((52, 58), None, 0, (24, 30), 20, (5.3, 5.8)),
    "top": View((84, 89), (0, 180), 3, (34, 48), 2),
    "side": View((36, 52), (-90, 90), 12, (32, 46), 1),
    "corner": View((30, 44), (-120, -60, 60, 120), 12, (34, 48), 2),
    "rail": View((20, 27), None, 0, (44, 54), 3, (2.4, 3.0)),
    "steep": View((66, 84), _ALONG_RAILS, 32, (26, 44), 4, (4.5, 5.3)),
    "overhead": View((84, 90), _ALONG_RAILS, 12, (20, 44), 4, (4.3, 5.6)),
    "slanted": View((50, 66), _ALONG_RAILS, 30, (16, 28), 8, (4.7, 5.3)),
    "distant": View((38, 47), _ALONG_RAILS, 30, (8, 13), 8, (4.5, 5.2)),
    "rolled": View((56, 76), _ALONG_RAILS, 12, (22, 36), 22, (4.6, 5.3), 12),
}
TRAIN_CAMERAS = ("close", "top", "side", "corner")
UNSEEN_CAMERAS = ("close_low", "rail")
TRAIN_EDGE_CAMERAS = ("steep", "slanted")
TRAIN_REAL_CAMERAS = (*TRAIN_EDGE_CAMERAS, "overhead")
UNSEEN_EDGE_CAMERAS = ("distant", "rolled")


def sample(
    name: str,
    rng: np.random.Generator,
    width: int,
    height: int,
    table: Table,
    focus: tuple[float, float] | None = None,
) -> Camera:
    """Draws a camera within the ranges of one of ``VIEWS``, for a picture of ``width`` columns and ``height`` rows.

    ``focus`` is a point (x, y) of the table, by default its middle, that is in the picture: in its middle for close
    cameras, somewhere in it for those that show the whole table.

    Raises:
      ConfigError: the name is unknown.
    """
    if name not in VIEWS:
        raise ConfigError(f"Unknown camera '{name}'; the cameras are {', '.join(VIEWS)}.{nearest(name, VIEWS)}")
    view = VIEWS[name]
    middle = (table.width / 2, table.length / 2)
    elevation = np.radians(rng.uniform(*view.elevation))
    azimuth = np.radians(rng.uniform(0, 360) if view.azimuths is None else rng.choice(view.azimuths))
    azimuth += np.radians(rng.uniform(-view.spread, view.spread))
    field_of_view = rng.uniform(*view.field_of_view)
    roll = np.radians(rng.uniform(-view.roll, view.roll))
    if view.least_roll:
        roll = np.copysign(np.radians(view.least_roll) + abs(roll) * (1 - view.least_roll / view.roll), roll)

    outward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right, down, _ = _axes(-outward, (0, 0, 1))
    up = np.sin(roll) * right - np.cos(roll) * down
    focal = 0.5 * width / np.tan(np.radians(field_of_view) / 2)
    if view.ball_radius is None:
        target = np.array([*middle, 0.0])
        axes = _axes(-outward, up)
        shift, distance = _framing(_corners(table) - target, axes, 0.5 * width / focal, 0.5 * height / focal)
        target += shift @ axes[:2]
    else:
        target = np.array([*(middle if focus is None else focus), BALL_RADIUS])
        pixels = rng.uniform(*view.ball_radius) * min(width, height) / 64
        distance = BALL_RADIUS * focal / pixels
    return Camera(tuple(target + distance * outward), tuple(target), tuple(up), float(field_of_view), width, height)


def _axes(forward: np.ndarray, up: Sequence[float]) -> np.ndarray:
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, up)
    length = np.linalg.norm(right)
    if length < 1e-9:
        raise ValueError(f"The camera's up direction {tuple(up)} is parallel to its view; choose another direction.")
    right /= length
    return np.stack([right, np.cross(forward, right), forward])


def _corners(table: Table) -> np.ndarray:
    x, y = (-RAILS, table.width + RAILS), (-RAILS, table.length + RAILS)
    return np.array([(a, b, 0.04) for a in x for b in y])


def _framing(points: np.ndarray, axes: np.ndarray, *slopes: float) -> tuple[np.ndarray, float]:
    """Returns the shift of the target, right and down, and the eye's distance that just fit all points in the picture.

    In the camera's axes, from the target, a point (c, z) is in the picture of an eye at distance d and a target moved
    by s when |c - s| <= slope (d + z), slope being that of the picture's edge. So s - slope d lies at most at
    min(c + slope z) and s + slope d at least at max(c - slope z).
    """
    *sides, depth = axes @ points.T
    shift, distance = [], 0.0
    for c, slope in zip(sides, slopes, strict=True):
        slope *= 0.97  # a margin around the table
        low, high = (c + slope * depth).min(), (c - slope * depth).max()
        shift.append((low + high) / 2)
        distance = max(distance, (high - low) / (2 * slope))
    return np.array(shift), float(distance)
