"""Finds named things in the frames of a video: where each is, in pixels of the picture, and whether it is seen at all.

A phrase's map over the patches of a frame is that of the word tracks (models/word_tracks.py). Its peak, refined below
a patch (ops/peaks.py), is the place; the thing counts as seen where the peak's cosine reaches a threshold.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.words import encode_names, find_phrases, listed_names, name_of
from hilight_jax.generation.following import follow
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.generation.zoom import best_zoom, whole_maps, zoomed_maps
from hilight_jax.ops.peaks import peak_places
from hilight_jax.pages.heatmaps import save_gif
from hilight_jax.pages.rings import Ring, draw_rings

# Patches that a place may be off and still lie on the thing, as in ``evals/grounding.py``.
REACH = 0.75
# The threshold of runs that no evaluation has fitted one for. On validation clips ``evaluate`` fits 0.19 for the demo
# and 0.23 for billiards-mini (docs/evaluation.md, docs/results.md).
USUAL_THRESHOLD = 0.22


class Located(NamedTuple):
    """One phrase in n frames of a video.

    Attributes:
      phrase: As it was given.
      frames: int [n], numbers of the frames in the video, from 0.
      times: Their seconds from the first frame of the video.
      x: Pixels from the left edge of the picture as the video has it, turned upright if it was filmed so; of every
        frame, seen or not.
      y: Pixels from its top edge.
      strength: Cosine of the best patch, the mean over the words of the phrase; -1 to 1.
      seen: True where ``strength`` reaches the model's threshold.
      reach: Pixels that a place may be off, 0.75 patch: a ring of this radius.
      zoom: The zoom that the video was looked at with.
    """

    phrase: str
    frames: Int[np.ndarray, " n"]
    times: Float[np.ndarray, " n"]
    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    strength: Float[np.ndarray, " n"]
    seen: Bool[np.ndarray, " n"]
    reach: float
    zoom: float | Literal["off"] = "off"


class Finder(Protocol):
    """The towers that make maps.

    Attributes:
      num_frames: F, frames of a clip.
      image_size: Rows and columns of a frame.
      columns: Patches of a row.
      threshold: The least cosine of a peak on a thing that is seen.
    """

    num_frames: int
    image_size: int
    columns: int
    threshold: float

    def patches(self, frames: UInt8[np.ndarray, "B F Y X 3"]) -> Float[np.ndarray, "B F P E"]:
        """Encodes clips; unit vectors of their patches."""

    def phrases(self, ids: Int[np.ndarray, "W L"], content: Bool[np.ndarray, "W L"]) -> Float[np.ndarray, "W E"]:
        """Encodes phrases in CLIP's ids; ``content`` marks the tokens that name something visible."""


def locate(finder: Finder, clip: VideoClip, phrases: Sequence[str]) -> list[Located]:
    """Finds each phrase in every frame of a clip.

    Any number of frames is encoded, F at a time. A group takes every so many-th frame, so that each spans the clip from
    its beginning to its end as clips in training do; F frames are one group, the clip that the model sees.

    With a zoom the clip's own pictures are read in tiles (``mosaic.py``), and each thing follows the best path through
    its maps (``following.py``).

    Args:
      finder: The towers.
      clip: Its frames, and the zoom that it is to be looked at with.
      phrases: What to find.

    Raises:
      DataError: A phrase has no word that names something visible.
    """
    ids, content = encode_names(phrases)
    for phrase, marks in zip(phrases, content, strict=True):
        if not marks.any():
            raise DataError(f"'{phrase[:60]}' names nothing that can be seen; name a thing, such as 'the red ball'.")
    vectors = np.asarray(finder.phrases(ids, content))
    zoom = best_zoom(finder, clip, vectors)
    if zoom == "off":
        mapped = whole_maps(finder, clip, vectors)
        places = np.asarray(peak_places(mapped.maps.reshape(*mapped.maps.shape[:2], -1), finder.columns))
        peaks = mapped.maps.max(axis=(2, 3))
    else:
        mapped = zoomed_maps(finder, clip, vectors, zoom)
        places, peaks, _ = follow(mapped.maps, clip.times)
    height, width = mapped.extent
    x, y = np.moveaxis((places + 1) / 2 * (width, height), -1, 0)
    rows, columns = mapped.maps.shape[2:]
    reach = REACH * (height / rows + width / columns) / 2
    seen = peaks >= finder.threshold
    return [
        Located(phrase, clip.numbers, clip.times, x[row], y[row], peaks[row], seen[row], reach, zoom)
        for row, phrase in enumerate(phrases)
    ]


def named_things(text: str, things: Sequence[str]) -> list[str]:
    """Finds what a text names, each once, by the domain's things, which may be none, and otherwise by content words.

    A word that ends the names of several things, such as "ball" alone, names none of them.
    """
    names = listed_names(things)
    found = dict.fromkeys(phrase for *_, phrase in find_phrases(text, names))
    return [phrase for phrase in found if sum(name.endswith(f" {name_of(phrase)}") for name, _ in names) < 2]


def write_rings(path: Path, clip: VideoClip, found: Sequence[Located]) -> None:
    """Writes a GIF of a clip's frames with a ring around each thing, at the speed of the video where that is slow."""
    scale = np.array(clip.pictures.shape[2:0:-1]) / clip.size[::-1]
    rings = [
        Ring(each.phrase, np.stack([each.x, each.y], -1) * scale, each.seen, each.reach * float(scale.mean()))
        for each in found
    ]
    notes = [
        f"frame {number + 1} of {clip.num_total}, {time:.2f} s"
        for number, time in zip(clip.numbers, clip.times, strict=True)
    ]
    pace = float(clip.times[-1] - clip.times[0]) / max(len(clip.times) - 1, 1)
    save_gif(path, draw_rings(clip.pictures, rings, notes), seconds=min(max(pace, 0.2), 0.8))
