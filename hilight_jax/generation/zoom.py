"""The zoom at which a video's pictures are read, and maps of phrases at a zoom; see ``mosaic.py``."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from hilight_jax.core.errors import UserError
from hilight_jax.generation.mosaic import MOST_TILES, PatchEncoder, read_mosaic, tile_count
from hilight_jax.generation.video_clip import VideoClip, Zoom
from hilight_jax.ops.paths import isolated

ZOOMS = (1.0, 1.2, 1.4, 1.7, 2.0, 2.4, 2.8, 3.4, 4.0, 4.8, 5.6)  # Looked at for "auto", beside "off".
LARGEST = 64
SAMPLED = 3  # Frames that they are looked at in.


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
        found = np.einsum("we,fpe->wfp", vectors, encoder.patches(clip.frames[filled][None])[0])
        maps[:, group] = found[:, : len(group)].reshape(maps[:, group].shape)
    return Mapped(maps, (float(clip.size[0]), float(clip.size[1])))


def zoomed_maps(encoder: PatchEncoder, clip: VideoClip, vectors: Float[np.ndarray, "W E"], zoom: float) -> Mapped:
    """Maps of a clip's own pictures, read in tiles."""
    pictures, parts = whole_pictures(clip), []
    for group, filled in _groups(clip.numbers, encoder.num_frames):
        mosaic = read_mosaic(encoder, pictures[filled], zoom)
        parts.append((group, mosaic.maps(vectors)[:, : len(group)], mosaic.extent))
    order = np.argsort(np.concatenate([group for group, _, _ in parts]))
    return Mapped(np.concatenate([maps for _, maps, _ in parts], axis=1)[:, order], parts[0][2])


def best_zoom(encoder: PatchEncoder, clip: VideoClip, vectors: Float[np.ndarray, "W E"]) -> float | Literal["off"]:
    """Chooses among the zooms of a clip, in a few of its frames: that at which the phrases are found best.

    A thing is best seen where it is about as large as a patch. At a lower zoom it fills a part of one, and its cosine
    is low; at a higher one it fills several, none of which stands out from the next ones. So the product of both is
    compared: the best cosine, and by how much its patch stands out more than the four patches that do so next.
    """
    if isinstance(clip.zoom, float) or clip.zoom == "off":
        return clip.zoom
    pictures, some = whole_pictures(clip), np.unique(np.linspace(0, len(clip.frames) - 1, SAMPLED).round().astype(int))
    sample = clip._replace(
        frames=clip.frames[some], numbers=clip.numbers[some], times=clip.times[some], whole=pictures[some]
    )
    zooms: list[float | Literal["off"]]
    if isinstance(clip.zoom, tuple):
        zooms = list(clip.zoom)
    else:
        largest = max(min(pictures.shape[1:3]) / encoder.image_size, 1.0)
        usual = (zoom for zoom in ZOOMS if zoom <= largest)
        zooms = ["off", *(zoom for zoom in usual if tile_count(clip.size, zoom, encoder) <= MOST_TILES)]

    def found(zoom: float | Literal["off"]) -> float:
        maps = whole_maps(encoder, sample, vectors) if zoom == "off" else zoomed_maps(encoder, sample, vectors, zoom)
        flat = maps.maps.reshape(*maps.maps.shape[:2], -1)
        best, *others = np.moveaxis(np.sort(isolated(maps.maps).reshape(flat.shape), axis=2)[..., :-6:-1], 2, 0)
        return float(np.mean(np.maximum(flat.max(axis=2), 0) * (best - np.mean(others, axis=0))))

    return max(zooms, key=found)


def whole_pictures(clip: VideoClip) -> UInt8[np.ndarray, "n Y X 3"]:
    """The frames of a clip in the video's own size."""
    if clip.whole is None:
        raise ValueError("the clip was read without its whole pictures; read it with a zoom.")
    return clip.whole


def parse_zoom(text: str | float | Sequence[float], name: str) -> Zoom:
    """Reads a zoom that somebody gave.

    Raises:
      UserError: It is neither "off", "auto", a number of at least 1, nor several; the message calls it ``name``.
    """
    if text in ("off", "auto"):
        return text
    given = text.split(",") if isinstance(text, str) else text if isinstance(text, list | tuple) else [text]
    try:
        zooms = () if any(isinstance(zoom, bool) for zoom in given) else tuple(float(zoom) for zoom in given)
    except (TypeError, ValueError):
        zooms = ()
    if not zooms or not all(1 <= zoom <= LARGEST for zoom in zooms):
        raise UserError(
            f"{name} is {text!r:.60}; give off, auto, a number from 1 to {LARGEST}, or several to choose from: 1,2,4."
        )
    return zooms[0] if len(zooms) == 1 else zooms


def _groups(numbers: Int[np.ndarray, " n"], size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields which frames are a group, every so many-th in the order of time, and the group filled up to its size."""
    order = np.argsort(numbers, kind="stable")
    num_groups = -(-len(order) // size)
    for first in range(num_groups):
        group = order[first::num_groups]
        yield group, np.pad(group, (0, size - len(group)), mode="edge")
