"""Describes a camera's view of a table, and compares the places of balls in two views, of one camera or of two."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from hilight_jax.data.films.ball_motion import Blob
from hilight_jax.data.films.cloth import Cloth
from hilight_jax.data.films.scenes import Outline, cells_changed, edges_changed

_CELLS, _EDGES = 0.25, 0.35  # Shares that may differ in pictures of one camera: people move, hands shake.
_NEAR = 0.06  # Of the table's sides: places of a ball in two views.
_MOST_CORNERS = 16


class View(NamedTuple):
    """The view of one camera.

    Attributes:
      picture: its outline, with wide neighbourhoods.
      balls: [n, 2] places of the balls, in shares of the two sides of the cloth.
    """

    picture: Outline
    balls: np.ndarray


def view(picture: Outline, cloth: Cloth | None, balls: list[Blob]) -> View:
    """Describes a view by its picture, its cloth, and the resting balls."""
    if cloth is None or not balls:
        return View(picture, np.zeros((0, 2)))
    return View(picture, _on_table(np.array([(ball.x, ball.y) for ball in balls]), _corners(cloth)))


def is_same_camera(one: Outline, other: Outline) -> bool:
    """Returns True if two pictures are likely to be of one camera at one place."""
    return cells_changed(one.cells, other.cells) < _CELLS and edges_changed(one, other) < _EDGES


def balls_apart(one: View, other: View) -> float:
    """Returns the share of the balls that lie elsewhere in the other view, from whatever sides the cameras look.

    It is 1 where there are too few balls to compare.
    """
    if min(len(one.balls), len(other.balls)) < 2:
        return 1.0
    shares, turned = [], other.balls
    for _ in range(4):  # The corner that comes first is not known.
        apart = np.hypot(*np.moveaxis(one.balls[:, None] - turned, -1, 0))
        alone = (apart.min(1) > _NEAR).sum() + (apart.min(0) > _NEAR).sum()
        shares.append(alone / (len(one.balls) + len(turned)))
        turned = np.stack([turned[:, 1], 1 - turned[:, 0]], 1)
    return float(min(shares))


def _corners(cloth: Cloth) -> np.ndarray:
    """Returns the corners [4, 2], x and y in order around, of the largest quadrilateral in the cloth's outline."""
    rows, columns = np.nonzero(cloth.region)
    points = np.stack([columns, rows], 1).astype(float)
    try:
        hull = points[ConvexHull(points).vertices]
    except QhullError:
        hull = points[:1].repeat(4, 0)
    hull = hull[np.linspace(0, len(hull), min(len(hull), _MOST_CORNERS), endpoint=False).astype(int)]
    a, b, c, d = (index.ravel() for index in np.meshgrid(*[np.arange(len(hull))] * 4, indexing="ij"))
    order = (a < b) & (b < c) & (c < d)
    choices = hull[np.stack([a[order], b[order], c[order], d[order]], 1)]
    if not len(choices):
        return hull[[0, 0, 0, 0]]
    across, along = choices[:, 2] - choices[:, 0], choices[:, 3] - choices[:, 1]
    area = np.abs(across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0])
    return choices[int(area.argmax())]


def _on_table(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Maps points [n, 2] of the picture to shares of the sides, by the homography of the corners to a unit square."""
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    rows = []
    for (x, y), (u, v) in zip(corners, square, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y, -u])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y, -v])
    matrix = np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)
    mapped = np.concatenate([points, np.ones((len(points), 1))], 1) @ matrix.T
    return mapped[:, :2] / np.where(np.abs(mapped[:, 2:]) < 1e-9, 1e-9, mapped[:, 2:])
