"""Follows blobs from frame to frame, and finds those that fly along a line as balls do."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hilight_jax.data.films.ball_motion import Blob

_FORGET = 0.25  # Seconds without a blob after which a track ends.
_POINTS = 4  # Points of a track by which a flight is recognized; the latest ones count.
_STRAIGHT = 0.85  # Share of its way that a flight leads away from its beginning.
_LEAST_WAY = 1.0  # Diameters of the blob.
_BACKWARD = 0.25  # Seconds.
_FIRST_STEP = 0.3  # Of the picture's width: the farthest first step of a fast ball between two frames.


@dataclasses.dataclass
class Track:
    """A blob over several frames.

    Attributes:
      times: seconds.
      blobs: its places.
      flies: True once it has been recognized as a ball in motion.
    """

    times: list[float]
    blobs: list[Blob]
    flies: bool = False

    def add(self, seconds: float, blob: Blob) -> None:
        """Adds a place, and looks at the latest ones."""
        self.times.append(seconds)
        self.blobs.append(blob)
        self.flies = self.flies or _is_flight(self.blobs[-_POINTS:])

    def flown(self) -> float:
        """Returns how far the blob has come from its first place, in its diameters."""
        sizes = sorted(blob.area for blob in self.blobs)
        return _distance(self.blobs[0], self.blobs[-1]) / np.sqrt(sizes[len(sizes) // 2])

    def sets_off_from(self, balls: Sequence[Blob]) -> bool:
        """Returns True if the track, followed backward for a moment, leads to a ball that lay still."""
        start, step = _place(self.blobs[0]), _place(self.blobs[1]) - _place(self.blobs[0])
        length, seconds = float(np.hypot(*step)), self.times[1] - self.times[0]
        if not length:
            return False
        for ball in balls:
            size, way = np.sqrt(ball.area), start - _place(ball)
            along, across = way @ step / length, abs(way[0] * step[1] - way[1] * step[0]) / length
            if across < 1.2 * size and -size < along < 2 * size + length / seconds * _BACKWARD:
                return True
        return False

    def expected(self, seconds: float) -> np.ndarray:
        """Returns the place [2] where the blob should be at a time, if it goes on as before."""
        last = _place(self.blobs[-1])
        if len(self.blobs) == 1:
            return last
        share = (seconds - self.times[-1]) / max(self.times[-1] - self.times[-2], 1e-3)
        return last + share * (last - _place(self.blobs[-2]))

    def reach(self, width: int) -> float:
        """Returns how far from the expected place the blob may be, pixels."""
        if len(self.blobs) == 1:
            return _FIRST_STEP * width
        return 3.0 + np.sqrt(self.blobs[-1].area) + 0.5 * _distance(self.blobs[-2], self.blobs[-1])


class Tracks:
    """The tracks of one camera."""

    def __init__(self, width: int):
        """Starts without tracks; ``width`` is the picture's."""
        self._width = width
        self._tracks: list[Track] = []

    def begun(self) -> float | None:
        """Returns the seconds at which the first of the blobs that move now was seen; None if none moves."""
        moving = [
            track.times[0]
            for track in self._tracks
            if _distance(track.blobs[0], track.blobs[-1]) > np.sqrt(track.blobs[0].area)
        ]
        return min(moving, default=None)

    def update(self, seconds: float, blobs: Sequence[Blob]) -> list[Track]:
        """Adds the blobs of a frame; returns the tracks in flight that go on in it."""
        self._tracks = [track for track in self._tracks if seconds - track.times[-1] <= _FORGET]
        pairs = sorted(
            (float(np.hypot(*(_place(blob) - track.expected(seconds)))) / track.reach(self._width), t, b)
            for t, track in enumerate(self._tracks)
            for b, blob in enumerate(blobs)
            if 0.2 < blob.area / track.blobs[-1].area < 5
        )
        used_tracks, used_blobs, flying = set(), set(), []
        # Old tracks first: a new one reaches far and would take their blobs.
        for distance, t, b in sorted(pairs, key=lambda pair: (len(self._tracks[pair[1]].blobs) == 1, pair[0])):
            if distance > 1 or t in used_tracks or b in used_blobs:
                continue
            used_tracks.add(t)
            used_blobs.add(b)
            self._tracks[t].add(seconds, blobs[b])
            if self._tracks[t].flies:
                flying.append(self._tracks[t])
        self._tracks += [Track([seconds], [blob]) for b, blob in enumerate(blobs) if b not in used_blobs]
        return flying


def _is_flight(blobs: Sequence[Blob]) -> bool:
    if len(blobs) < _POINTS:
        return False
    places = np.array([_place(blob) for blob in blobs])
    steps = np.hypot(*np.diff(places, axis=0).T)
    way = float(np.hypot(*(places[-1] - places[0])))
    diameter = np.sqrt(max(blob.area for blob in blobs))
    return bool(way >= max(_LEAST_WAY * diameter, 3.0) and way >= _STRAIGHT * steps.sum() and steps.max() < 0.6 * way)


def _place(blob: Blob) -> np.ndarray:
    return np.array([blob.x, blob.y])


def _distance(one: Blob, other: Blob) -> float:
    return float(np.hypot(one.x - other.x, one.y - other.y))
