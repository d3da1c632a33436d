"""The picture of the table without balls and cue, with the geometry that later layers need; made once per shot."""

from typing import NamedTuple

import numpy as np

from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.rendering import surfaces, textures
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.looks import Lighting, rgb
from hilight_jax.billiards.rendering.marks import NO_MARKS, Marks, print_on, project_on
from hilight_jax.billiards.rendering.surfaces import Surface

# Rays of a pixel: its centre, then a rotated square that smooths edges of any direction.
_SAMPLES = np.array([(0.5, 0.5), (0.375, 0.125), (0.875, 0.375), (0.625, 0.875), (0.125, 0.625)], np.float32)
_RAISED = (Surface.FACE, Surface.CUSHION, Surface.RAIL, Surface.APRON)
_DIAMOND_RADIUS = 0.0075
_POCKET_RIM = 0.014
_LEATHER = (30, 24, 21)
_IVORY = (232, 226, 208)


class Background(NamedTuple):
    """The empty table.

    Attributes:
      image: float32 [3, Y, X], 0..255.
      point: float32 [3, Y, X], the place in the world that each pixel's centre shows, metres.
      barrier: float32 [Y, X], depth where a ball can be hidden behind what the pixel shows, infinite elsewhere.
      bed: bool [Y, X], True where the pixel's centre shows the bed.
    """

    image: np.ndarray
    point: np.ndarray
    barrier: np.ndarray
    bed: np.ndarray


class Finish(NamedTuple):
    """Colours of the materials, float32 [3, 1] each, 0..255, the name of the cloth's texture, and marks."""

    cloth: np.ndarray
    wood: np.ndarray
    floor: np.ndarray
    texture: str = "plain"
    marks: Marks = NO_MARKS


def lamps(lighting: Lighting, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Positions [k, 3] in metres and strengths [k] of the lamps over this table."""
    position = np.array(lighting.lamps) * (table.width, table.length, 1, 1)
    return position[:, :3].astype(np.float32), position[:, 3].astype(np.float32)


def draw(
    camera: Camera, table: Table, finish: Finish, lighting: Lighting, exposure: float, rng: np.random.Generator
) -> Background:
    """Casts the rays of every pixel and colours the surfaces that they meet."""
    x = np.arange(camera.width) + _SAMPLES[:, :1]
    y = np.arange(camera.height) + _SAMPLES[:, 1:]
    right, down = camera.slopes(x[:, None, :], y[:, :, None])
    axes = camera.axes.astype(np.float32)
    directions = np.stack([axes[0, i] * right + axes[1, i] * down + axes[2, i] for i in range(3)])
    hits = surfaces.trace(camera.eye, directions.reshape(3, -1), table)

    color = _paint(hits, table, finish, rng)
    color *= _light(hits.point, table, lighting) * (rgb(lighting.tint) * exposure)
    if finish.marks.projected:
        (bed,) = np.nonzero(hits.kind == Surface.BED)
        color[:, bed] = project_on(color[:, bed], hits.point[:, bed], finish.marks.projected)
    shape = (camera.height, camera.width)
    image = color.reshape(3, len(_SAMPLES), *shape).mean(1)
    center = slice(0, shape[0] * shape[1])  # the first ray of every pixel
    kind, depth = hits.kind[center], hits.depth[center]
    raised = np.isin(kind, _RAISED)
    return Background(
        np.clip(image, 0, 255),
        hits.point[:, center].reshape(3, *shape),
        np.where(raised, depth, np.float32(np.inf)).reshape(shape),
        (kind == Surface.BED).reshape(shape),
    )


def _light(point: np.ndarray, table: Table, lighting: Lighting) -> np.ndarray:
    """Returns the light [n] at points [3, n]: each lamp gives its strength right below it, on the bed."""
    light = np.full(point.shape[1], lighting.ambient, np.float32)
    for position, strength in zip(*lamps(lighting, table), strict=True):
        away = point - position[:, None]
        np.square(away, out=away)
        light += strength * position[2] ** 2 / away.sum(0)
    return light


def _paint(hits: surfaces.Hits, table: Table, finish: Finish, rng: np.random.Generator) -> np.ndarray:
    """Returns the colours [3, n] of the surfaces that the rays meet, without light."""
    painters = {
        Surface.BED: lambda point: print_on(_bed(point, table, finish, rng), point, finish.marks.printed),
        Surface.FACE: lambda point: finish.cloth * (0.42 + 0.24 * point[2] / surfaces.CUSHION_HEIGHT),
        Surface.CUSHION: lambda point: _cushion(point, table, finish),
        Surface.RAIL: lambda point: print_on(_rail(point, table, finish), point, finish.marks.on_rails),
        Surface.POCKET: lambda point: rgb((9, 9, 10)) + 0.9 * rgb(_LEATHER) * np.clip(point[2] / 0.04, 0, 1),
        Surface.APRON: lambda point: finish.wood * (0.55 + 2 * np.clip(point[2], -0.15, 0.04)),
        Surface.FLOOR: lambda point: _floor(point, table, finish),
        Surface.ROOM: lambda point: finish.floor * np.full(point.shape[1], 0.55, np.float32),
    }
    color = np.empty_like(hits.point)
    counts = np.bincount(hits.kind, minlength=len(Surface))
    for kind, painter in painters.items():
        if counts[kind] == len(hits.kind):
            color[:] = painter(hits.point)
        elif counts[kind]:
            (rays,) = np.nonzero(hits.kind == kind)
            color[:, rays] = painter(hits.point[:, rays])
    return color


def _bed(point, table, finish, rng):
    """Cloth with a grain, darker where the cushions keep the light away."""
    from_cushion = -surfaces.recess_distance(*surfaces.fold(point, table), table=table)
    grain = rng.standard_normal(point.shape[1], np.float32)
    color = finish.cloth * ((1 + 0.035 * grain) * (1 - 0.42 * np.exp(from_cushion * np.float32(-1 / 0.022))))
    return color if finish.texture == "plain" else color * textures.factors(finish.texture, point)


def _cushion(point, table, finish):
    """Cloth that catches the light along the nose, with leather around the pockets."""
    x, y = surfaces.fold(point, table)
    nose = np.exp(np.abs(surfaces.edge_distance(x, y, table)) * np.float32(-1 / 0.006))
    return _with_rims(finish.cloth * (0.78 + 0.3 * nose), x, y, table)


def _rail(point, table, finish):
    """Wood grained along the rail, with its diamonds."""
    x, y = surfaces.fold(point, table)
    across, along = x - table.width / 2, y - table.length / 2
    long_rail = across > along
    beside, forward = np.where(long_rail, x, y), np.where(long_rail, point[1], point[0])
    grain = np.sin(260 * beside + 5 * np.sin(5 * forward) + 2 * np.sin(31 * forward))
    color = finish.wood * (1 + 0.09 * grain)
    middle = surfaces.CUSHION_WIDTH + surfaces.RAIL_WIDTH / 2
    off = np.where(long_rail, across, along) - middle
    # Folded diamonds: at 1, 2 and 3 eighths of the length, and at 0 and 1 quarter of the width, from the middle lines.
    spacing = np.where(long_rail, table.length / 8, table.width / 4)
    ahead = np.where(long_rail, y, x)
    step = np.round(ahead / spacing)
    marked = np.where(long_rail, (step >= 1) & (step <= 3), step <= 1)
    diamond = marked & (np.hypot(off, ahead - step * spacing) < _DIAMOND_RADIUS)
    np.copyto(color, rgb(_IVORY), where=diamond)
    return _with_rims(color, x, y, table)


def _with_rims(color, x, y, table):
    np.copyto(color, rgb(_LEATHER), where=surfaces.hole_distance(x, y, table) < _POCKET_RIM)
    return color


def _floor(point, table, finish):
    """A floor with a faint pattern, dark under the table."""
    pattern = np.sin(9 * point[0] + 2 * np.sin(4 * point[1])) * np.sin(7 * point[1])
    beside = surfaces.edge_distance(*surfaces.fold(point, table), table=table)
    return finish.floor * ((1 + 0.07 * pattern) * np.clip(0.35 + 0.8 * beside, 0.2, 1))
