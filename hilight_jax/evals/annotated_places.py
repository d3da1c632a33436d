"""Scores pointing on annotated frames of anybody's videos: ``evaluate --data points:FILE,videos=DIR``.

Every annotated frame is looked at together with its neighbours, from which a thing's path is followed. A place that is
found is right where it lies in the annotated box, or, of a point, at most 0.75 patch from it in x and in y.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.data.points import PICTURE_SUFFIXES, Place, open_places
from hilight_jax.evals.intervals import bootstrap_interval
from hilight_jax.generation.locating import Finder, Located, locate
from hilight_jax.generation.video_clip import VideoClip, read_picture, read_video_clip
from hilight_jax.generation.zoom import Zoom

NEIGHBOURS = 6  # Frames that are read before and after an annotated one.
MOST = 48  # Frames that are read at a time.


class PlacesSource:
    """The source ``points:``, see ``open_places``."""

    def __init__(self, path: str, videos: str = "", words: str = ""):
        """Reads the annotation."""
        self.name, self.places = f"points:{path}", open_places(path, videos, words)


def evaluate_places(finder: Finder, places: Sequence[Place], zoom: Zoom) -> dict[str, Any]:
    """Looks for every annotated thing, by word.

    Returns:
      ``{'words': {word: figures}, 'zoom', 'videos', 'left_out'}``, ready for JSON. The figures are 'places',
      'pointing', the share that is found, its 95 % bootstrap 'interval' over videos, 'area_chance', what a random place
      would score, 'median_error' in pixels of the video, and 'seen', the share that the model calls seen. ``left_out``
      are places of frames that the video does not have.
    """
    hits: dict[str, list[tuple[int, bool, float, float, bool]]] = {}
    left_out, number = [], -1
    for number, (file, of_file) in enumerate(groupby(places, key=lambda place: place.file)):
        listed = list(of_file)
        words = list(dict.fromkeys(place.word for place in listed))
        for clip, of_clip in _clips(file, listed, finder, left_out):
            found = dict(zip(words, locate(finder, clip, words, zoom), strict=True))
            for place in of_clip:
                hits.setdefault(place.word, []).append((number, *_judge(place, found[place.word], clip)))
    return {
        "words": {word: _summary(judged) for word, judged in hits.items()},
        "zoom": zoom,
        "videos": number + 1,
        "left_out": left_out,
    }


def _clips(
    file: Path, places: list[Place], finder: Finder, left_out: list[str]
) -> Iterator[tuple[VideoClip, list[Place]]]:
    """Reads the annotated frames with their neighbours; places that lie near each other come in one clip."""
    if file.suffix.lower() in PICTURE_SUFFIXES:
        yield read_picture(file, finder.image_size), places
        return
    total = read_video_clip(str(file), 1, finder.image_size).num_total
    usable = [place for place in places if place.frame < total]
    left_out += [f"{file.name}, frame {place.frame}: it has {total}" for place in places if place.frame >= total]
    wanted = sorted({near for place in usable for near in _near(place.frame, total)})
    runs = [wanted[first : first + MOST] for first in range(0, len(wanted), MOST)]
    for numbers in runs:
        inside = [place for place in usable if place.frame in set(numbers)]
        if inside:
            yield read_video_clip(str(file), numbers, finder.image_size, whole=True), inside


def _near(frame: int, total: int) -> range:
    return range(max(0, frame - NEIGHBOURS), min(total, frame + NEIGHBOURS + 1))


def _judge(place: Place, found: Located, clip: VideoClip) -> tuple[bool, float, float, bool]:
    """Judges a place: found or not, the share of the picture that would be right, the error, seen or not."""
    (at,) = np.flatnonzero(found.frames == place.frame)[:1]
    wide, high = place.reach or (found.reach, found.reach)
    off_x, off_y = float(found.x[at]) - place.x, float(found.y[at]) - place.y
    rows, columns = clip.size
    chance = min(1.0, 4 * wide * high / (rows * columns))
    return abs(off_x) <= wide and abs(off_y) <= high, chance, float(np.hypot(off_x, off_y)), bool(found.seen[at])


def _summary(judged: Sequence[tuple[int, bool, float, float, bool]]) -> dict[str, Any]:
    videos, right, chance, errors, seen = (np.array(column) for column in zip(*judged, strict=True))
    _, rows, counts = np.unique(videos, return_inverse=True, return_counts=True)
    return {
        "places": len(judged),
        "pointing": float(right.mean()),
        "interval": bootstrap_interval(np.stack([counts, np.bincount(rows, weights=right)], axis=1)),
        "area_chance": float(chance.mean()),
        "median_error": float(np.median(errors)),
        "seen": float(seen.mean()),
    }


def places_table(result: dict[str, Any]) -> str:
    """The figures as text for a terminal."""
    columns = ("pointing", "95 %", "area chance", "median px", "seen", "places")
    lines = [f"{result['name']}: {result['videos']} videos of {result['source']}, zoom {result['zoom']}", ""]
    lines.append(f"{'place found':<24}" + "".join(f"{column:>13}" for column in columns))
    for word, figures in result["words"].items():
        low, high = figures["interval"]
        cells = (
            f"{figures['pointing']:.3f}", f"{low:.2f}-{high:.2f}", f"{figures['area_chance']:.4f}",
            f"{figures['median_error']:.1f}", f"{figures['seen']:.3f}", str(figures["places"]),
        )  # fmt: skip
        lines.append(f"{word[:23]:<24}" + "".join(f"{cell:>13}" for cell in cells))
    if result["left_out"]:
        lines += ["", f"left out: {len(result['left_out'])} places ({'; '.join(result['left_out'][:3])})"]
    return "\n".join([*lines, ""])
