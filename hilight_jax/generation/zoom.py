"""Word maps at a video's own resolution: the picture at one scale, cut into tiles of the size that the model reads.

A ball of a broadcast picture is a pixel wide where the whole picture is squeezed into the model's square. Features at
the embeddings are nearly local, so the picture is scaled until a ball has the size that training showed, is cut into
overlapping tiles, and the maps of the tiles are put together into one map of the picture. A tile is a clip of its own:
the same place in every frame. Where tiles overlap their maps are averaged, each the less the nearer to its own edge.
Tiles that are plain in all frames, such as empty cloth, are not encoded; their patches have the lowest value found.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8

from hilight_jax.core.errors import UserError
from hilight_jax.data.transforms import to_uint8_size
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.ops.paths import isolated

Zoom = Literal["off", "auto"] | float
ZOOMS = (1.0, 1.4, 2.0, 2.8, 4.0, 5.6)  # Looked at for "auto", beside "off".
LARGEST = 64
SAMPLED = 3  # Frames that they are looked at in.
PLAIN = 14  # Grey levels between the 2nd and the 98th percentile of a plain tile, at most, in every colour.
BATCH = 8  # Tiles that are encoded at a time.


class PatchEncoder(Protocol):
    """The part of ``locating.Finder`` that encodes tiles."""

    num_frames: int
    image_size: int
    columns: int

    def patches(self, frames: UInt8[np.ndarray, "B F Y X 3"]) -> Float[np.ndarray, "B F P E"]:
        """Encodes clips."""


class Mapped(NamedTuple):
    """Similarities of phrases to the patches of a clip's frames.

    Attributes:
      maps: [W, n, rows, columns], of each phrase and frame.
      extent: Rows and columns of the video that the maps cover, which may reach a little over its edges.
    """

    maps: Float[np.ndarray, "W n rows columns"]
    extent: tuple[float, float]


def whole_maps(encoder: PatchEncoder, clip: VideoClip, vectors: Float[np.ndarray, "W E"]) -> Mapped:
    """Maps of whole frames, squeezed into the model's square."""
    maps = np.empty((len(vectors), len(clip.frames), encoder.columns, encoder.columns), np.float32)
    for group, filled in _groups(clip.numbers, encoder.num_frames):
        found = _similarities(encoder, clip.frames[filled][None], vectors)[0]
        maps[:, group] = found[:, : len(group)]
    return Mapped(maps, (float(clip.size[0]), float(clip.size[1])))


def zoomed_maps(encoder: PatchEncoder, clip: VideoClip, vectors: Float[np.ndarray, "W E"], zoom: float) -> Mapped:
    """Maps of a clip's own pictures, read in tiles."""
    pictures = _pictures(clip)
    tiles = tiling(pictures.shape[1:3], zoom, encoder)
    maps = np.empty((len(vectors), len(pictures), tiles.rows, tiles.columns), np.float32)
    for group, filled in _groups(clip.numbers, encoder.num_frames):
        maps[:, group] = picture_maps(encoder, pictures[filled], vectors, tiles)[:, : len(group)]
    patch = encoder.image_size // encoder.columns
    height, width = pictures.shape[1:3]
    scales = (round(height * tiles.scale) / height, round(width * tiles.scale) / width)
    return Mapped(maps, (tiles.rows * patch / scales[0], tiles.columns * patch / scales[1]))


def best_zoom(encoder: PatchEncoder, clip: VideoClip, vectors: Float[np.ndarray, "W E"]) -> Zoom:
    """The zoom at which the phrases are found best in a few frames: where they stand out most from what is around them.

    At a lower zoom a thing fills a part of a patch, at a higher one its neighbours look like it too.
    """
    pictures, some = _pictures(clip), np.unique(np.linspace(0, len(clip.frames) - 1, SAMPLED).round().astype(int))
    sample = clip._replace(
        frames=clip.frames[some], numbers=clip.numbers[some], times=clip.times[some], whole=pictures[some]
    )
    largest = min(pictures.shape[1:3]) / encoder.image_size
    zooms: list[Zoom] = ["off", *(zoom for zoom in ZOOMS if zoom <= max(largest, 1.0))]

    def strength(zoom: Zoom) -> float:
        whole = zoom == "off"
        mapped = whole_maps(encoder, sample, vectors) if whole else zoomed_maps(encoder, sample, vectors, float(zoom))
        return float(isolated(mapped.maps).max(axis=(2, 3)).mean())

    return max(zooms, key=strength)


def _pictures(clip: VideoClip) -> UInt8[np.ndarray, "n Y X 3"]:
    if clip.whole is None:
        raise ValueError("the clip was read without its whole pictures; read it with whole=True.")
    return clip.whole


def _groups(numbers: Int[np.ndarray, " n"], size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields which frames are a group, every so many-th in the order of time, and the group filled up to its size."""
    order = np.argsort(numbers, kind="stable")
    num_groups = -(-len(order) // size)
    for first in range(num_groups):
        group = order[first::num_groups]
        yield group, np.pad(group, (0, size - len(group)), mode="edge")


def _similarities(encoder, clips, vectors):
    """Maps [B, W, F, rows, columns] of clips [B, F, Y, X, 3]."""
    found = np.einsum("we,bfpe->bwfp", vectors, encoder.patches(clips))
    return found.reshape(*found.shape[:3], encoder.columns, encoder.columns)


class Tiling(NamedTuple):
    """A picture at one scale, in patches, and its tiles.

    Attributes:
      scale: Pixels of the model for one of the picture.
      rows: Of patches, the last of which may reach over the picture's lower edge.
      columns: Of patches, likewise.
      starts: [T, 2] row and column of each tile's first patch.
    """

    scale: float
    rows: int
    columns: int
    starts: Int[np.ndarray, "T 2"]


def parse_zoom(text: str | float, name: str) -> Zoom:
    """Reads a zoom that somebody gave.

    Raises:
      UserError: It is neither "off", "auto" nor a number of at least 1; the message calls it ``name``.
    """
    if text in ("off", "auto"):
        return text
    try:
        zoom = float(text)
    except ValueError:
        zoom = 0.0
    if not 1 <= zoom <= LARGEST:
        raise UserError(f"{name} is {text!r}; give off, auto, or a number from 1 to {LARGEST}.")
    return zoom


def tiling(size: tuple[int, int], zoom: float, encoder: PatchEncoder) -> Tiling:
    """Lays tiles over a picture, each half over the next.

    Args:
      size: Rows and columns of the picture.
      zoom: The picture's shorter side in sides of a tile, at least 1.
      encoder: Whose tiles these are.
    """
    per_tile = encoder.columns
    scale = zoom * encoder.image_size / min(size)
    patch = encoder.image_size // per_tile
    rows, columns = (max(per_tile, -(-round(side * scale) // patch)) for side in size)
    starts = [(row, column) for row in _starts(rows, per_tile) for column in _starts(columns, per_tile)]
    return Tiling(scale, rows, columns, np.array(starts))


def picture_maps(
    encoder: PatchEncoder,
    pictures: UInt8[np.ndarray, "F Y X 3"],
    vectors: Float[np.ndarray, "W E"],
    tiles: Tiling,
) -> Float[np.ndarray, "W F rows columns"]:
    """Similarity of each phrase vector to every patch of the pictures, which are as many as a clip has frames."""
    per_tile, total = encoder.columns, np.zeros((len(vectors), len(pictures), tiles.rows, tiles.columns), np.float32)
    weights = np.zeros((tiles.rows, tiles.columns), np.float32)
    inward = np.minimum(np.arange(per_tile) + 1, per_tile - np.arange(per_tile)).astype(np.float32)
    window = inward[:, None] * inward
    for starts, clips in _batches(encoder, pictures, tiles):
        filled = np.concatenate([clips, np.repeat(clips[-1:], BATCH - len(clips), axis=0)])
        for (row, column), maps in zip(starts.tolist(), _similarities(encoder, filled, vectors), strict=False):
            place = slice(row, row + per_tile), slice(column, column + per_tile)
            total[:, :, *place] += window * maps
            weights[place] += window
    seen = weights > 0
    maps = total / np.where(seen, weights, 1)
    lowest = maps[:, :, seen].min(axis=2, initial=0.0)[..., None, None] if seen.any() else 0.0
    return np.where(seen, maps, lowest).astype(np.float32)


def _batches(
    encoder: PatchEncoder, pictures: UInt8[np.ndarray, "F Y X 3"], tiles: Tiling
) -> Iterator[tuple[Int[np.ndarray, "B 2"], UInt8[np.ndarray, "B F y x 3"]]]:
    """Yields the tiles that show something, with where they start."""
    side, patch = encoder.image_size, encoder.image_size // encoder.columns
    scaled = to_uint8_size(pictures, tuple(round(length * tiles.scale) for length in pictures.shape[1:3]))
    missing = (tiles.rows * patch - scaled.shape[1], tiles.columns * patch - scaled.shape[2])
    below, beside = (max(0, count) for count in missing)
    scaled = np.pad(scaled, ((0, 0), (0, below), (0, beside), (0, 0)), mode="edge")
    starts: list[Sequence[int]] = []
    clips: list[np.ndarray] = []
    for row, column in tiles.starts.tolist():
        clip = scaled[:, row * patch : row * patch + side, column * patch : column * patch + side]
        if not _is_plain(clip):
            starts.append((row, column))
            clips.append(clip)
        if len(clips) == BATCH:
            yield np.array(starts), np.stack(clips)
            starts, clips = [], []
    if clips:
        yield np.array(starts), np.stack(clips)


def _is_plain(clip: UInt8[np.ndarray, "F y x 3"]) -> bool:
    low, high = np.percentile(clip, (2, 98), axis=(1, 2))
    return bool((high - low <= PLAIN).all())


def _starts(length: int, tile: int) -> list[int]:
    """The first patches of tiles along a side: a half tile apart, the last one at the end."""
    return sorted({*range(0, length - tile + 1, max(tile // 2, 1)), length - tile})
