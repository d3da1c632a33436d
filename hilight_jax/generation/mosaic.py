"""Features of pictures at their own resolution: a picture at one scale, cut into tiles of the size that a model reads.

A ball of a broadcast picture is a pixel wide where the whole picture is squeezed into the model's square. Features at
the embeddings are nearly local, so the picture is scaled until a ball has the size that training showed, is cut into
overlapping tiles, and the features of the tiles are put together as one grid over the picture. A tile is a clip of its
own: the same place in every frame. Where tiles overlap their features are averaged, each the less the nearer to its own
edge. Tiles that are plain in all frames, such as empty cloth, are not encoded, but for the first of a picture that is
plain all over.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from hilight_jax.core.errors import DataError
from hilight_jax.data.transforms import to_uint8_size

PLAIN = 20  # Grey levels between the darkest and the brightest place of a plain tile, at most, in every colour.
BATCH = 8  # Tiles that are encoded at a time.
MOST_TILES = 512  # Of a picture: memory and time go with their number. A picture of 16:9 has 420 at a zoom of 8.


class PatchEncoder(Protocol):
    """A tower that encodes tiles.

    Attributes:
      num_frames: F, frames of a clip.
      image_size: Rows and columns of a tile.
      columns: Patches of a tile's row.
    """

    num_frames: int
    image_size: int
    columns: int

    def patches(self, frames: UInt8[np.ndarray, "B F Y X 3"]) -> Float[np.ndarray, "B F P E"]:
        """Encodes clips; unit vectors of their patches."""


class Tiling(NamedTuple):
    """A picture at one scale, in patches, and its tiles.

    Attributes:
      size: Rows and columns of the scaled picture, in pixels.
      rows: Of patches, the last of which may reach over the picture's lower edge.
      columns: Of patches, likewise.
      starts: [T, 2] row and column of each tile's first patch.
    """

    size: tuple[int, int]
    rows: int
    columns: int
    starts: Int[np.ndarray, "T 2"]


class Mosaic(NamedTuple):
    """Features of pictures, put together from tiles.

    Attributes:
      patches: [F, rows, columns, E], unit vectors; zero where no tile was encoded.
      encoded: [rows, columns], True where one was.
      extent: Rows and columns in pixels of the pictures that the patches cover, perhaps a little over their edges.
    """

    patches: Float[np.ndarray, "F rows columns E"]
    encoded: Bool[np.ndarray, "rows columns"]
    extent: tuple[float, float]

    def maps(self, vectors: Float[np.ndarray, "W E"]) -> Float[np.ndarray, "W F rows columns"]:
        """Cosines of phrases and patches; where no tile was encoded, the lowest cosine found, at most zero."""
        maps = np.einsum("we,frce->wfrc", vectors, self.patches.astype(np.float32))
        if not self.encoded.all():
            lowest = maps[:, :, self.encoded].min(axis=2, initial=0.0)[..., None, None]
            maps = np.where(self.encoded, maps, lowest)
        return maps.astype(np.float32)


def read_mosaic(encoder: PatchEncoder, pictures: UInt8[np.ndarray, "F Y X 3"], zoom: float) -> Mosaic:
    """Encodes as many pictures as a clip has frames.

    Args:
      encoder: The tower.
      pictures: In the order of time.
      zoom: The picture's shorter side in sides of a tile, at least 1.

    Raises:
      DataError: That would be too many tiles.
    """
    count = tile_count(pictures.shape[1:3], zoom, encoder)
    if count > MOST_TILES:
        height, width = pictures.shape[1:3]
        raise DataError(
            f"a zoom of {zoom:g} cuts pictures of {width} x {height} pixels into {count} tiles, but at most "
            f"{MOST_TILES} are read; give a smaller zoom."
        )
    per_tile, tiles = encoder.columns, tiling(pictures.shape[1:3], zoom, encoder)
    weights = np.zeros((tiles.rows, tiles.columns), np.float32)
    inward = np.minimum(np.arange(per_tile) + 1, per_tile - np.arange(per_tile)).astype(np.float32)
    window = inward[:, None] * inward
    total = np.zeros(0, np.float32)
    for starts, clips in _batches(encoder, pictures, tiles):
        filled = np.concatenate([clips, np.repeat(clips[-1:], BATCH - len(clips), axis=0)])
        features = encoder.patches(filled)
        grids = features.reshape(*features.shape[:2], per_tile, per_tile, features.shape[3])
        if not total.size:
            total = np.zeros((len(pictures), tiles.rows, tiles.columns, features.shape[3]), np.float32)
        for (row, column), grid in zip(starts.tolist(), grids, strict=False):
            place = slice(row, row + per_tile), slice(column, column + per_tile)
            total[:, *place] += window[..., None] * grid
            weights[place] += window
    lengths = np.linalg.norm(total, axis=3, keepdims=True)
    patch = encoder.image_size // per_tile
    extent = tuple(
        count * patch / scaled * side
        for count, scaled, side in zip((tiles.rows, tiles.columns), tiles.size, pictures.shape[1:3], strict=True)
    )
    return Mosaic(total / np.maximum(lengths, 1e-12), weights > 0, extent)


def tile_count(size: Sequence[int], zoom: float, encoder: PatchEncoder) -> int:
    """Counts the tiles that ``tiling`` lays, without laying them."""
    _, (rows, columns) = _scaled(size, zoom, encoder)
    return len(_starts(rows, encoder.columns)) * len(_starts(columns, encoder.columns))


def tiling(size: Sequence[int], zoom: float, encoder: PatchEncoder) -> Tiling:
    """Lays tiles over a picture, each half over the next.

    Args:
      size: Rows and columns of the picture.
      zoom: The picture's shorter side in sides of a tile, at least 1.
      encoder: Whose tiles these are.
    """
    scaled, (rows, columns) = _scaled(size, zoom, encoder)
    starts = [(row, column) for row in _starts(rows, encoder.columns) for column in _starts(columns, encoder.columns)]
    return Tiling(scaled, rows, columns, np.array(starts))


def _scaled(size: Sequence[int], zoom: float, encoder: PatchEncoder) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of a scaled picture, in pixels and in patches."""
    scale, patch = zoom * encoder.image_size / min(size), encoder.image_size // encoder.columns
    height, width = (round(side * scale) for side in size)
    rows, columns = (max(encoder.columns, -(-side // patch)) for side in (height, width))
    return (height, width), (rows, columns)


def _batches(
    encoder: PatchEncoder, pictures: UInt8[np.ndarray, "F Y X 3"], tiles: Tiling
) -> Iterator[tuple[Int[np.ndarray, "B 2"], UInt8[np.ndarray, "B F y x 3"]]]:
    """Yields the tiles that show something, with where they start."""
    side, patch = encoder.image_size, encoder.image_size // encoder.columns
    scaled = to_uint8_size(pictures, tiles.size)
    missing = (tiles.rows * patch - scaled.shape[1], tiles.columns * patch - scaled.shape[2])
    below, beside = (max(0, count) for count in missing)
    scaled = np.pad(scaled, ((0, 0), (0, below), (0, beside), (0, 0)), mode="edge")
    starts: list[Sequence[int]] = []
    clips: list[np.ndarray] = []
    any_shown = False
    for row, column in tiles.starts.tolist():
        clip = scaled[:, row * patch : row * patch + side, column * patch : column * patch + side]
        if not _is_plain(clip):
            starts.append((row, column))
            clips.append(clip)
        if len(clips) == BATCH:
            yield np.array(starts), np.stack(clips)
            starts, clips, any_shown = [], [], True
    if clips:
        yield np.array(starts), np.stack(clips)
    elif not any_shown:
        yield tiles.starts[:1], scaled[None, :, :side, :side]


def _is_plain(clip: UInt8[np.ndarray, "F y x 3"]) -> bool:
    """True if nothing stands out in any frame, however small; places are means of 2 x 2 pixels, against noise."""
    places = clip[:, ::2, ::2].astype(np.int16) + clip[:, 1::2, ::2] + clip[:, ::2, 1::2] + clip[:, 1::2, 1::2]
    return bool((np.ptp(places, axis=(1, 2)) <= 4 * PLAIN).all())


def _starts(length: int, tile: int) -> list[int]:
    """The first patches of tiles along a side: a half tile apart, the last one at the end."""
    return sorted({*range(0, length - tile + 1, max(tile // 2, 1)), length - tile})
