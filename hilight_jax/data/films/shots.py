"""Finds the strokes of a long film in one pass: rest, a burst of motion on the cloth, rest; replays; interludes."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from hilight_jax.data.films.bursts import TableWatch
from hilight_jax.data.films.frame_stream import FrameStream
from hilight_jax.data.films.replays import Found, Verdicts
from hilight_jax.data.films.scenes import Scene, outline
from hilight_jax.data.films.table_view import view
from hilight_jax.data.video import Video

_LEAD, _TAIL = 3.0, 1.0  # Seconds of a piece before the stroke and after the last motion.
_SHORTEST = 2.0  # Seconds: a shorter rest within a scene belongs to the next stroke.
_SPLICE = 0.3  # Seconds: a shorter scene is no piece of its own.


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


def find_shots(
    video: Video,
    *,
    report: Callable[[float, float | None], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Shot]:
    """Yields the pieces of a film in order of time, as they are found; together they cover it.

    Memory does not grow with the film: some frames of low resolution and the layouts of a few strokes are kept.

    Args:
      video: a path, or the bytes of a file.
      report: is called with the seconds that are done and those of the film, or None where the file does not state it.
      warn: is called with a sentence about a file that is damaged or has no clock.

    Raises:
      VideoError: the file is missing, empty, no video, or has no frame that decodes.
    """
    stream, verdicts, covered = FrameStream(video), Verdicts(), _Covered()
    scene: Scene | None = None
    watch: TableWatch | None = None
    reported = -1.0
    for frame in stream:
        picture = outline(frame.pixels)
        if scene is None or watch is None or not scene.goes_on(picture):
            if scene is not None and watch is not None:
                _leave(scene, watch, frame.seconds, verdicts)
            scene, watch = Scene(frame.seconds, picture), TableWatch(frame.seconds)
        ended = watch.update(frame, picture)
        if ended is not None:
            verdicts.add(scene, view(scene.latest, watch.cloth, ended.layout), ended)
            verdicts.rest(view(scene.latest, watch.cloth, watch.resting))
        if verdicts.are_open:
            verdicts.consider(frame.seconds, scene)
        for found in verdicts.decided(frame.seconds - _TAIL):
            yield from covered.pieces(found)
        if report is not None and frame.seconds - reported >= 1:
            report(frame.seconds, stream.total)
            reported = frame.seconds
    if scene is not None and watch is not None:
        _leave(scene, watch, stream.end, verdicts)
    for found in verdicts.all_left():
        yield from covered.pieces(found)
    yield from covered.rest(stream.end)
    if report is not None:
        report(stream.end, stream.total)
    if warn is not None and stream.fault:
        warn(stream.fault)


def _leave(scene: Scene, watch: TableWatch, seconds: float, verdicts: Verdicts) -> None:
    burst = watch.cut()
    verdicts.leave(scene, view(scene.latest, watch.cloth, burst.layout if burst else []), burst, seconds)


class _Covered:
    """Cuts the film into pieces; ``_end`` is the end of the latest one."""

    def __init__(self):
        self._end = 0.0

    def pieces(self, found: Found) -> Iterator[Shot]:
        """Yields the piece of a stroke or replay, and before it the interlude since the latest piece."""
        start = max(self._end, found.scene.start, found.start - _LEAD)
        gap = start - self._end
        if gap >= _SHORTEST or (gap > _SPLICE and start == found.scene.start):
            yield Shot(self._end, start, None, "interlude")
        else:
            start = self._end
        self._end = max(min(found.end + _TAIL, found.limit), start)
        yield Shot(start, self._end, found.stroke, found.kind)

    def rest(self, seconds: float) -> Iterator[Shot]:
        """Yields the interlude up to the end of the film."""
        if seconds - self._end > _SPLICE or self._end == 0:
            yield Shot(self._end, seconds, None, "interlude")
