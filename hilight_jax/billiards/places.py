"""Finds cushions and pockets in a picture, and names them by the picture's left, right, top and bottom.

A camera may film the table from anywhere, so the table's own names do not hold in the picture. The cushion that runs
up and down in the picture on the right hand is 'right', whatever side of the table it is.
"""

import functools
from collections.abc import Mapping

import numpy as np

from hilight_jax.billiards.language.footage import Track
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.surfaces import CUSHION_WIDTH

NOSE_HEIGHT = 0.037  # metres
STEEPEST = 35.0  # Degrees from the picture's axes up to which a cushion has a name.


def side_names(camera: Camera) -> dict[str, str]:
    """Renames the table's four sides by the picture.

    Args:
      camera: where the picture is taken from; directions are compared at its target, the middle of the picture.

    Returns:
      The picture's name by the table's name; empty when the table lies too askew to tell left from top.
    """
    step = 0.01 * np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0]], float)
    left, right, bottom, top = camera.project(camera.target + step)[0]
    across, along = right - left, top - bottom
    names = {}
    for sides, out, run in ((("left", "right"), across, along), (("bottom", "top"), along, across)):
        tilt = np.degrees(np.arctan2(abs(run[0]), abs(run[1])))  # 0: these cushions run up and down the picture.
        if tilt <= STEEPEST:
            names |= dict(zip(sides, ("left", "right") if out[0] > 0 else ("right", "left"), strict=True))
        elif tilt >= 90 - STEEPEST:
            names |= dict(zip(sides, ("top", "bottom") if out[1] > 0 else ("bottom", "top"), strict=True))
    return names if len(set(names.values())) == 4 else {}


def pocket_names(table: Table, sides: Mapping[str, str]) -> dict[str, str]:
    """Renames the table's pockets: corners 'top-left' and so on, side pockets 'left-middle' and so on.

    Args:
      table: whose pockets are meant.
      sides: from `side_names`.

    Returns:
      The picture's name by the table's name; empty when the sides have no names.
    """
    names = {}
    for pocket in table.pockets if sides else ():
        parts = [sides[part] for part in pocket.name.split("-") if part in sides]
        parts.sort(key=lambda side: side in ("left", "right"))
        names[pocket.name] = "-".join(parts) if len(parts) == 2 else f"{parts[0]}-middle"
    return names


def places_in_picture(camera: Camera, table: Table) -> dict[str, Track]:
    """Returns the tracks, of one frame, of the cushions and pockets in the picture, by the table's own names.

    A cushion is put in the middle of that part of it that is in the picture, as a disc as wide as the cushion. Whether
    balls, the cue, a banner or a nearer rail hide a place is not tested: its `visible` is 1 wherever it lies in the
    picture. A cushion is a strip, of which the disc is a small part; the kind of its captions' spans is 'cushion', so
    that an evaluation of where words point can leave cushions out or count them apart.
    """
    names, radii, owners, points = _landmarks(table)
    inside = is_inside(camera, points)
    found = {}
    for k in np.unique(owners[inside]):
        middle = points[inside & (owners == k)].mean(0)
        found[names[k]] = track(camera, middle[None], radii[k], np.ones(1))
    return found


def track(camera: Camera, points: np.ndarray, radius: float, visible: np.ndarray) -> Track:
    """Projects the centres [F, 3] of a round thing; what lies behind the camera is put outside the picture."""
    pixels, depth = camera.project(points)
    size = radius * camera.focal / np.maximum(depth, 0.01)
    pixels = np.clip(np.nan_to_num(pixels, nan=-9999.0), -9999.0, 9999.0)
    return Track(pixels[..., 0], pixels[..., 1], size, visible)


def is_inside(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Returns True for points [..., 3] inside the picture, bool [...]."""
    pixels, depth = camera.project(points)
    return (depth > 0) & (pixels >= 0).all(-1) & (pixels < [camera.width, camera.height]).all(-1)


@functools.cache
def _landmarks(table: Table) -> tuple[list[str], list[float], np.ndarray, np.ndarray]:
    """Returns names and radii of cushions and pockets, points [k, 3] on them, and the owner of each point [k]."""
    lines: dict[str, list[np.ndarray]] = {}
    for rail in table.rails:
        line = np.linspace(rail.start, rail.end, 25)
        lines.setdefault(rail.name, []).append(np.column_stack([line, np.full(25, NOSE_HEIGHT)]))
    holes = {pocket.name: np.append(pocket.center, 0.0)[None] for pocket in table.pockets}
    parts = [np.concatenate(line) for line in lines.values()] + list(holes.values())
    radii = [CUSHION_WIDTH / 2] * len(lines) + [pocket.radius for pocket in table.pockets]
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return [*lines, *holes], radii, owners, np.concatenate(parts)
