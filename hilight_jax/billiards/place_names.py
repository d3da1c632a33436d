"""Names of cushions and pockets by the picture's left, right, top and bottom.

A camera may film the table from anywhere, so the table's own names do not hold in the picture. The cushion that runs up
and down in the picture on the right hand is 'right', whatever side of the table it is.
"""

from collections.abc import Mapping

import numpy as np

from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.rendering.camera import Camera

STEEPEST = 35.0  # Degrees from the picture's axes up to which a cushion has a name.


def object_names(camera: Camera, table: Table) -> dict[str, str]:
    """Returns the object names ('cushion:left', 'pocket:top-left') of cushions and pockets, by the table's own."""
    sides = side_names(camera)
    pockets = pocket_names(table, sides)
    return {k: f"cushion:{v}" for k, v in sides.items()} | {k: f"pocket:{v}" for k, v in pockets.items()}


def side_names(camera: Camera) -> dict[str, str]:
    """Returns the picture's names of the table's four sides, by the table's own names.

    Directions are compared at the camera's target, the middle of the picture. The result is empty when the table lies
    too askew to tell left from top.
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
    """Returns the picture's names of the table's pockets, by the table's own names.

    Corners are 'top-left' and so on, side pockets 'left-middle' and so on. Empty when ``sides`` (`side_names`) is.
    """
    names = {}
    for pocket in table.pockets if sides else ():
        parts = [sides[part] for part in pocket.name.split("-") if part in sides]
        parts.sort(key=lambda side: side in ("left", "right"))
        names[pocket.name] = "-".join(parts) if len(parts) == 2 else f"{parts[0]}-middle"
    return names
