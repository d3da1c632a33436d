"""The first surface that a camera's ray meets: bed, cushions, rails, pockets, the table's outside, floor or room.

The table is symmetric, so its outline is described in one quarter: by a point's distances from the table's two middle
lines (``fold``). The recess is where a ball can lie: the playing area, the pockets' mouths and the holes. Everything
around it is flat at the cushions' height, so a ray that enters the recess at that height either reaches the bed, or
first meets the side face of a cushion (or a pocket's wall).
"""

import enum
from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.physics.table import (
    BALL_RADIUS,
    CORNER_CENTER,
    CORNER_MOUTH,
    CORNER_RADIUS,
    SIDE_CENTER,
    SIDE_JAW,
    SIDE_MOUTH,
    SIDE_RADIUS,
    Table,
)

CUSHION_HEIGHT = 0.635 * 2 * BALL_RADIUS  # of the nose above the bed, as the rules of pool have it
CUSHION_WIDTH = 0.05  # from the nose to the rail
RAIL_WIDTH = 0.11  # from the cushion to the table's outer edge
APRON_HEIGHT = 0.19  # of the table's outside, downwards from the rails
FLOOR_HEIGHT = -0.78


class Surface(enum.IntEnum):
    """The kinds of surface."""

    BED = 0
    FACE = 1
    CUSHION = 2
    RAIL = 3
    POCKET = 4
    APRON = 5
    FLOOR = 6
    ROOM = 7


class Hits(NamedTuple):
    """The ends of rays.

    Attributes:
      kind: uint8 [n], the ``Surface``.
      point: float32 [3, n], metres.
      depth: float32 [n], in units of the given ray directions.
    """

    kind: np.ndarray
    point: np.ndarray
    depth: np.ndarray


def trace(eye: np.ndarray, directions: np.ndarray, table: Table) -> Hits:
    """Follows rays of float32 ``directions`` [3, n], of any length, from an ``eye`` [3] above the cushions.

    Returns:
      The first hits; rays that meet neither the table nor the floor end 20 units away in the room.
    """
    eye = np.asarray(eye, np.float32)[:, None]
    down = directions[2] < -1e-4
    steepness = 1 / np.where(down, directions[2], -1)
    depth = (CUSHION_HEIGHT - eye[2]) * steepness
    top = eye[:2] + depth * directions[:2]
    x, y = fold(top, table)
    kind = np.where(edge_distance(x, y, table) < CUSHION_WIDTH, Surface.CUSHION, Surface.RAIL).astype(np.uint8)

    recessed = recess_distance(x, y, table)
    _enter_recess(kind, depth, recessed, eye, directions, steepness, table)
    (beside,) = np.nonzero(edge_distance(x, y, table) > CUSHION_WIDTH + RAIL_WIDTH)
    if beside.size:
        _pass_beside(kind, depth, beside, eye, directions[:, beside], steepness[beside], table)
    kind[~down], depth[~down] = Surface.ROOM, 20
    return Hits(kind, eye + depth * directions, depth)


def fold(point: np.ndarray, table: Table) -> np.ndarray:
    """Returns the distances [2, n] of points [>=2, n] from the middle lines of the table, across and along it."""
    middle = np.array([[table.width / 2], [table.length / 2]], np.float32)
    return np.abs(point[:2] - middle)


def edge_distance(x: np.ndarray, y: np.ndarray, table: Table) -> np.ndarray:
    """Returns the distance of folded points from the rectangle of the cushions' noses (negative inside), metres."""
    return np.maximum(x - table.width / 2, y - table.length / 2)


def hole_distance(x: np.ndarray, y: np.ndarray, table: Table) -> np.ndarray:
    """Returns the distance of folded points from the nearest hole (negative inside), metres."""
    half_width, half_length = table.width / 2, table.length / 2
    corner = np.hypot(x - (half_width + CORNER_CENTER), y - (half_length + CORNER_CENTER)) - CORNER_RADIUS
    side = np.hypot(x - (half_width + SIDE_CENTER), y) - SIDE_RADIUS
    return np.minimum(corner, side)


def recess_distance(x: np.ndarray, y: np.ndarray, table: Table) -> np.ndarray:
    """Returns the distance of folded points from the recess (negative inside), metres."""
    distance = edge_distance(x, y, table)
    # Further inside than any mouth is wide, only the cushions' noses count.
    (near,) = np.nonzero(distance > -SIDE_MOUTH)
    if near.size:
        x, y = x[near], y[near]
        across, along = x - table.width / 2, y - table.length / 2
        past_corner = np.abs(across - along) - CORNER_MOUTH
        corner = np.maximum(past_corner, across + along - 2 * CORNER_CENTER) * np.float32(np.sqrt(0.5))
        side = np.maximum(y + SIDE_JAW[1] * np.maximum(across, 0) - SIDE_MOUTH, across - SIDE_CENTER)
        mouths = np.minimum(np.minimum(corner, side), hole_distance(x, y, table))
        distance[near] = np.minimum(distance[near], mouths)
    return distance


def _enter_recess(kind, depth, recessed, eye, directions, steepness, table):
    """Sets kind and depth, in place, of rays that are inside the recess at the cushions' height."""
    (inside,) = np.nonzero(recessed < 0)
    to_bed = -eye[2] * steepness[inside]
    bed = fold(eye[:2] + to_bed * directions[:2, inside], table)
    outside = recess_distance(*bed, table=table)
    kind[inside] = Surface.BED
    (near,) = np.nonzero(edge_distance(*bed, table=table) > -SIDE_MOUTH)
    over_hole = near[hole_distance(*bed[:, near], table=table) < 0]
    kind[inside[over_hole]] = Surface.POCKET

    (stopped,) = np.nonzero(outside > 0)
    if stopped.size:
        rays = inside[stopped]
        # The distance is linear along a ray that meets one straight face, so that the chord's zero is the hit.
        before, after = recessed[rays], outside[stopped]
        share = before / (before - after)
        to_bed[stopped] = depth[rays] + share * (to_bed[stopped] - depth[rays])
        face = fold(eye[:2] + to_bed[stopped] * directions[:2, rays], table)
        kind[rays] = np.where(hole_distance(*face, table=table) < 0.003, Surface.POCKET, Surface.FACE)
    depth[inside] = to_bed


def _pass_beside(kind, depth, beside, eye, directions, steepness, table):
    """Sets kind and depth, in place, of rays that pass beside the top: the table's outside (a box), or the floor."""
    margin = CUSHION_WIDTH + RAIL_WIDTH
    low = np.array([[-margin], [-margin]], np.float32)
    high = np.array([[table.width + margin], [table.length + margin]], np.float32)
    level = np.where(np.abs(directions[:2]) < 1e-6, np.float32(1e-6), directions[:2])
    first, second = (low - eye[:2]) / level, (high - eye[:2]) / level
    enter = np.minimum(first, second).max(0)
    leave = np.maximum(first, second).min(0)
    height = eye[2] + enter * directions[2]
    apron = (enter < leave) & (enter > 0) & (height < CUSHION_HEIGHT) & (height > CUSHION_HEIGHT - APRON_HEIGHT)
    kind[beside] = np.where(apron, Surface.APRON, Surface.FLOOR)
    depth[beside] = np.where(apron, enter, (FLOOR_HEIGHT - eye[2]) * steepness)
