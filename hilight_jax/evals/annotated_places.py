"""Scores pointing on annotated frames of anybody's videos: ``evaluate --data points:FILE,videos=DIR``.

Every annotated frame is looked at together with its neighbours, from which a thing's path is followed; frames whose
neighbours overlap are looked at together, for the words that are annotated in them. A place that is found is right
where it lies in the annotated box, or, of a point, at most 0.75 patch from it in x and in y.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.points import PICTURE_SUFFIXES, Place, open_places
from hilight_jax.evals.intervals import mean_interval
from hilight_jax.generation.locating import Finder, Located, locate
from hilight_jax.generation.video_clip import VideoClip, Zoom, read_picture, read_video_clip

NEIGHBOURS = 6  # Frames that are read before and after an annotated one.
MOST = 48  # Frames that are read at a time, but for those of one annotated frame.
FEWEST = 5  # Videos of an interval over videos.


class PlacesSource:
    """The source ``points:``, see ``open_places``."""

    def __init__(self, path: str, videos: str = "", words: str = ""):
        """Reads the annotation."""
        self.name, self.places = f"points:{path}", open_places(path, videos, words)


def evaluate_places(finder: Finder, places: Sequence[Place], zoom: Zoom) -> dict[str, Any]:
    """Looks for every annotated thing, by word.

    Returns:
      ``{'words': {word: figures}, 'zoom', 'videos', 'left_out'}``, ready for JSON. The figures are 'places',
      'pointing', the share that is found, its 95 % bootstrap 'interval' over videos, None where they are below five,
      'area_chance', what a random place would score, 'median_error' in pixels of the video, and 'seen', the share that
      the model calls seen. ``left_out`` are places that the video does not have.

    Raises:
      DataError: A video cannot be read, or none has the annotated frames.
    """
    hits: dict[str, list[tuple[int, bool, float, float, bool]]] = {}
    left_out, number = [], -1
    for number, (file, of_file) in enumerate(groupby(places, key=lambda place: place.file)):
        listed = list(of_file)
        for clip, of_clip in _clips(file, listed, finder, zoom, left_out):
            words = list(dict.fromkeys(place.word for place in of_clip))
            found = dict(zip(words, locate(finder, clip, words), strict=True))
            for place in of_clip:
                hits.setdefault(place.word, []).append((number, *_judge(place, found[place.word], clip)))
    if not hits:
        raise DataError(f"no annotated place can be looked at: {'; '.join(left_out[:3])}.")
    return {
        "words": {word: _summary(judged) for word, judged in hits.items()},
        "zoom": zoom,
        "videos": number + 1,
        "left_out": left_out,
    }


def _clips(
    file: Path, places: list[Place], finder: Finder, zoom: Zoom, left_out: list[str]
) -> Iterator[tuple[VideoClip, list[Place]]]:
    """Reads the annotated frames with their neighbours; places that lie near each other come in one clip."""
    is_picture = file.suffix.lower() in PICTURE_SUFFIXES
    first = read_picture(file, finder.image_size, zoom) if is_picture else read_video_clip(str(file), 1, 1)
    (rows, columns), total, usable = first.size, first.num_total, []
    for place in places:
        if place.frame >= total:
            left_out.append(f"{file.name}, frame {place.frame}: it has {total}")
        elif not (0 <= place.x <= columns and 0 <= place.y <= rows):
            left_out.append(f"{file.name}, {place.x:g},{place.y:g}: it has {columns} x {rows} pixels")
        else:
            usable.append(place)
    if is_picture:
        yield from [(first, usable)] if usable else []
        return
    for numbers in _runs(sorted({place.frame for place in usable}), total):
        inside = [place for place in usable if place.frame in numbers]
        yield read_video_clip(str(file), numbers, finder.image_size, zoom), inside


def _runs(frames: list[int], total: int) -> Iterator[range]:
    """Yields the frames around annotated ones, rising: those that overlap together, at most ``MOST`` where possible."""
    first = 0
    for number, frame in enumerate(frames):
        start, end = max(0, frames[first] - NEIGHBOURS), min(total, frame + NEIGHBOURS + 1)
        follower = frames[number + 1] if number + 1 < len(frames) else total + MOST
        if follower - NEIGHBOURS >= end or min(total, follower + NEIGHBOURS + 1) - start > MOST:
            yield range(start, end)
            first = number + 1


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
    rows = np.unique(videos, return_inverse=True)[1]
    return {
        "places": len(judged),
        "pointing": float(right.mean()),
        "interval": mean_interval(right.astype(float), rows) if rows.max() + 1 >= FEWEST else None,
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
        interval = "-" if figures["interval"] is None else "{:.2f}-{:.2f}".format(*figures["interval"])
        cells = (
            f"{figures['pointing']:.3f}", interval, f"{figures['area_chance']:.4f}",
            f"{figures['median_error']:.1f}", f"{figures['seen']:.3f}", str(figures["places"]),
        )  # fmt: skip
        lines.append(f"{word[:23]:<24}" + "".join(f"{cell:>13}" for cell in cells))
    if result["left_out"]:
        lines += ["", f"left out: {len(result['left_out'])} places ({'; '.join(result['left_out'][:3])})"]
    return "\n".join([*lines, ""])
