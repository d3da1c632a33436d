"""Finds the strokes of a long film in one pass: rest, a burst of motion on the cloth, rest; replays; interludes.

A stroke is the start of a burst of ball motion. After a cut, balls that move already go on with the stroke before the
cut. A replay is a stroke shown again: from the same camera it begins with the same balls at the same places as an
earlier one; from another camera it is a short scene soon after a stroke, after which the film goes back to its camera.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from hilight_jax.data.ball_motion import Blob
from hilight_jax.data.bursts import Burst, TableWatch
from hilight_jax.data.frame_stream import FrameStream
from hilight_jax.data.scenes import Scene, grid, is_same_camera
from hilight_jax.data.video import Video

_LEAD, _TAIL = 3.0, 1.0  # Seconds of a piece before the stroke and after the last motion.
_SHORTEST = 2.0  # Seconds: a shorter rest within a scene belongs to the next stroke.
_SPLICE = 0.3  # Seconds: a shorter scene is no piece of its own.
_SOON = 3.5  # Seconds of a replay's scene before its stroke.
_AFTERWARDS = 8.0  # Seconds from a stroke's last motion to the scene of its replay.
_PATIENCE = 30.0  # Seconds after which a scene is no replay if the film has not gone back to its camera.
_REMEMBERED = 8  # Strokes whose layouts are kept.
_NEAR = 4.0  # Pixels between the places of a ball in two layouts that are the same.
_MISMATCHES = 0.25  # Share of the balls of two layouts without a partner.


class Shot(NamedTuple):
    """A piece of film.

    Attributes:
      start: seconds from the first shown frame.
      end: seconds.
      stroke: seconds at which the cue ball is struck, or None where nothing is played.
      kind: 'stroke', 'replay' (an earlier stroke is shown again) or 'interlude' (no play).
    """

    start: float
    end: float
    stroke: float | None
    kind: str


@dataclasses.dataclass
class _Found:
    """A burst that waits for its verdict: kind is 'stroke', 'replay' or 'suspect'."""

    scene: Scene
    start: float
    end: float
    kind: str
    stroke: float | None
    limit: float = np.inf  # End of its scene.


def find_shots(
    video: Video,
    *,
    report: Callable[[float, float | None], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Shot]:
    """Yields the pieces of a film in order of time, as they are found; together they cover it.

    Memory does not grow with the film: some frames of low resolution and a few layouts of balls are kept.

    Args:
      video: a path, or the bytes of a file.
      report: is called with the seconds that are done and those of the film, or None where the file does not state it.
      warn: is called with a sentence about a file that is damaged or has no clock.

    Raises:
      VideoError: the file is missing, empty, no video, or has no frame that decodes.
    """
    stream, editor = FrameStream(video), _Editor()
    scene: Scene | None = None
    watch: TableWatch | None = None
    told = -1.0
    for frame in stream:
        cells = grid(frame.pixels)
        if scene is None or watch is None or not scene.goes_on(cells):
            if scene is not None and watch is not None:
                yield from editor.leave(scene, watch.close(), frame.seconds)
            scene, watch = Scene(frame.seconds, cells), TableWatch(frame.seconds)
        ended = watch.update(frame)
        if ended is not None:
            editor.add(scene, ended)
        yield from editor.settled(frame.seconds, scene if watch.cloth is not None else None)
        if report is not None and frame.seconds - told >= 1:
            report(frame.seconds, stream.total)
            told = frame.seconds
    if scene is not None and watch is not None:
        yield from editor.leave(scene, watch.close(), stream.end)
    yield from editor.finish(stream.end)
    if report is not None:
        report(stream.end, stream.total)
    if warn is not None and stream.fault:
        warn(stream.fault)


class _Editor:
    """Orders bursts into pieces, and decides which of them are replays."""

    def __init__(self):
        self._cursor = 0.0  # The film is covered up to here.
        self._waiting: list[_Found] = []
        self._layouts: list[tuple[np.ndarray, list[Blob]]] = []
        self._last: _Found | None = None
        self._live: np.ndarray | None = None  # The camera of the latest stroke.

    def add(self, scene: Scene, burst: Burst) -> None:
        """Adds a burst that has ended."""
        last = self._last
        if burst.is_running:
            if last is not None and scene.start - last.end < 1.5 and last.scene is not scene:
                last.end, last.limit = burst.end, np.inf
                last.scene_of_end = scene
                return
            kind, stroke = ("replay" if last is not None else "interlude"), None
        else:
            kind, stroke = self._kind(scene, burst), burst.start
        self._last = _Found(scene, burst.start, burst.end, kind, stroke)
        self._waiting.append(self._last)
        if kind == "stroke":
            self._remember(scene, burst)

    def _kind(self, scene: Scene, burst: Burst) -> str:
        last = self._last
        if last is None or scene.start == 0 or last.scene is scene:
            return "stroke"
        if any(is_same_camera(camera, scene.camera) and _same(burst.layout, seen) for camera, seen in self._layouts):
            return "replay"
        is_soon = burst.start - scene.start < _SOON and scene.start - last.end < _AFTERWARDS
        is_elsewhere = self._live is not None and not is_same_camera(self._live, scene.camera)
        return "suspect" if is_soon and is_elsewhere else "stroke"

    def _remember(self, scene: Scene, burst: Burst) -> None:
        self._live = scene.camera
        self._layouts = [*self._layouts, (scene.camera, burst.layout)][-_REMEMBERED:]

    def leave(self, scene: Scene, burst: Burst | None, seconds: float) -> Iterator[Shot]:
        """Ends a scene, with the burst that its end cuts off."""
        if burst is not None:
            self.add(scene, burst)
        for found in self._waiting:
            if found.scene is scene or getattr(found, "scene_of_end", None) is scene:
                found.limit = min(found.limit, seconds)
        return iter(())

    def settled(self, seconds: float, scene: Scene | None) -> Iterator[Shot]:
        """Yields the pieces that are decided; ``scene`` is the present one if it shows a table."""
        for found in self._waiting:
            if found.kind != "suspect":
                continue
            if scene is not None and scene is not found.scene and is_same_camera(scene.camera, self._live):
                found.kind = "replay"
            elif seconds - found.end > _PATIENCE or (scene is found.scene and seconds - found.end > 10):
                found.kind = "stroke"
        while self._waiting and self._waiting[0].kind != "suspect" and seconds - self._waiting[0].end > _TAIL + 0.6:
            yield from self._pieces(self._waiting.pop(0))

    def finish(self, seconds: float) -> Iterator[Shot]:
        """Yields all that is left, at the end of the film."""
        for found in self._waiting:
            found.kind = "stroke" if found.kind == "suspect" else found.kind
            yield from self._pieces(found)
        if seconds - self._cursor > _SPLICE or self._cursor == 0:
            yield Shot(self._cursor, seconds, None, "interlude")

    def _pieces(self, found: _Found) -> Iterator[Shot]:
        start = max(self._cursor, found.scene.start, found.start - _LEAD)
        gap = start - self._cursor
        if gap >= _SHORTEST or (gap > _SPLICE and start == found.scene.start):
            yield Shot(self._cursor, start, None, "interlude")
        else:
            start = self._cursor
        self._cursor = max(min(found.end + _TAIL, found.limit), start)
        yield Shot(start, self._cursor, found.stroke, found.kind)


def _same(layout: list[Blob], other: list[Blob]) -> bool:
    """Returns True if nearly all balls of two layouts lie at the same places."""
    if min(len(layout), len(other)) < 2:
        return False
    one, two = (np.array([(blob.x, blob.y) for blob in blobs]) for blobs in (layout, other))
    apart = np.hypot(*np.moveaxis(one[:, None] - two, -1, 0))
    alone = (apart.min(1) > _NEAR).sum() + (apart.min(0) > _NEAR).sum()
    return bool(alone <= _MISMATCHES * (len(one) + len(two)))
