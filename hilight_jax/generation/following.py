"""Things followed through the maps of a mosaic (``mosaic.py``): their places, and their tracks as a model reads them.

A track's numbers (``models/word_tracks.TRACK``) are those of a square frame in training. So around the place of a thing
a window of a tile's size is laid in every frame, its best patch and its mean and spread are those of the window, and
its place is the one in the whole picture.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hilight_jax.generation.mosaic import Mosaic
from hilight_jax.models.word_tracks import TRACK, measure_tracks
from hilight_jax.ops.paths import best_path, isolated
from hilight_jax.ops.peaks import places_at


class Followed(NamedTuple):
    """W things in n frames.

    Attributes:
      places: [W, n, 2], x and y, from -1 (left, top edge of the maps) to 1.
      strengths: [W, n], cosine of the patch that a thing lies on.
      patches: [W, n, 2], row and column of that patch.
    """

    places: Float[np.ndarray, "W n 2"]
    strengths: Float[np.ndarray, "W n"]
    patches: Int[np.ndarray, "W n 2"]


class Tracked(NamedTuple):
    """The tracks of W things in one clip, as ``models/hilight.HiLight.track`` returns them.

    Attributes:
      tracks: [W, F, T], see ``word_tracks.TRACK``.
      features: [W, E], the patch vector where a thing is found best.
      maps: [W, F, P], cosines on the grid of a tile's patches over the whole picture, the best of each.
    """

    tracks: Float[np.ndarray, "W F T"]
    features: Float[np.ndarray, "W E"]
    maps: Float[np.ndarray, "W F P"]


def follow(maps: Float[np.ndarray, "W n rows columns"], times: Float[np.ndarray, " n"]) -> Followed:
    """Follows each thing along its best path through the frames in the order of time."""
    order = np.argsort(times, kind="stable")
    number, columns = np.arange(maps.shape[1]), maps.shape[3]
    places, strengths = np.empty((*maps.shape[:2], 2)), np.empty(maps.shape[:2], np.float32)
    patches = np.empty((*maps.shape[:2], 2), int)
    standing_out = isolated(maps)
    for thing, frames in enumerate(maps):
        path = patches[thing]
        path[order] = best_path(standing_out[thing, order], times[order])
        strengths[thing] = frames[number, *path.T]
        places[thing] = places_at(frames.reshape(len(order), -1), path @ (columns, 1), columns)
    return Followed(places, strengths, patches)


def track(
    mosaic: Mosaic,
    vectors: Float[np.ndarray, "W E"],
    size: tuple[int, int],
    times: Float[np.ndarray, " F"],
    per_tile: int,
    sharpness: float,
) -> Tracked:
    """Measures the tracks of things in a mosaic.

    Args:
      mosaic: Of the F frames that the model sees.
      vectors: What is looked for.
      size: Rows and columns of the pictures.
      times: Seconds of the frames.
      per_tile: Patches of a tile's row.
      sharpness: Inverse temperature of the softmax that the spread is measured on.
    """
    maps = mosaic.maps(vectors)
    found = follow(maps, times)
    tracks = np.array(measure_tracks(_windows(maps, found.patches, per_tile), per_tile, sharpness))
    height, width = size
    places = (found.places + 1) * mosaic.extent[::-1] / (width, height) - 1
    step = np.diff(places, axis=1, prepend=places[:, :1])
    named = {"strength": found.strengths, "x": places[..., 0], "y": places[..., 1]}
    named |= {"step_x": step[..., 0], "step_y": step[..., 1]}
    for name, numbers in named.items():
        tracks[..., TRACK.index(name)] = numbers
    best = found.strengths.argmax(axis=1)
    thing = np.arange(len(vectors))
    row, column = found.patches[thing, best].T
    return Tracked(tracks, mosaic.patches[best, row, column], _over_the_picture(maps, mosaic.extent, size, per_tile))


def _windows(
    maps: Float[np.ndarray, "W F rows columns"], patches: Int[np.ndarray, "W F 2"], side: int
) -> Float[np.ndarray, "W F P"]:
    """The maps in a window of ``side`` x ``side`` patches around each thing, within the edges."""
    last = np.array(maps.shape[2:]) - side
    first = np.clip(patches - side // 2, 0, last)
    reach = np.arange(side)
    rows, columns = first[..., :1] + reach, first[..., 1:] + reach
    thing, frame = np.ogrid[: maps.shape[0], : maps.shape[1]]
    windows = maps[thing[..., None, None], frame[..., None, None], rows[..., :, None], columns[..., None, :]]
    return windows.reshape(*maps.shape[:2], side * side)


def _over_the_picture(
    maps: Float[np.ndarray, "W F rows columns"], extent: tuple[float, float], size: tuple[int, int], side: int
) -> Float[np.ndarray, "W F P"]:
    """The best of the maps in each of ``side`` x ``side`` equal parts of the picture."""
    part = [
        np.minimum(((np.arange(count) + 0.5) / count * whole / shown * side).astype(int), side - 1)
        for count, whole, shown in zip(maps.shape[2:], extent, size, strict=True)
    ]
    best = np.full((*maps.shape[:2], side, side), -1.0, np.float32)
    rows = np.full((*maps.shape[:3], side), -1.0, np.float32)
    np.maximum.at(rows, (slice(None), slice(None), slice(None), part[1]), maps)
    np.maximum.at(best, (slice(None), slice(None), part[0]), rows)
    return best.reshape(*maps.shape[:2], side * side)
