"""Decides which of the bursts of motion in a film are strokes, and which show an earlier stroke again.

After a cut, balls that move already go on with the stroke before the cut. A replay is a scene that begins with a cut
soon after a stroke and comes to its strike at once, without the time that a player takes to aim. It shows the balls as
they lay before an earlier stroke; where the balls cannot be compared, the film goes back to its camera afterwards.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from hilight_jax.data.films.bursts import Burst
from hilight_jax.data.films.scenes import Scene
from hilight_jax.data.films.table_view import View, balls_apart, is_same_camera

_SOON = 3.5  # Seconds of a replay's scene before its stroke.
_AFTERWARDS = 8.0  # Seconds from a stroke's last motion to the scene of its replay.
_PATIENCE = 20.0  # Seconds after which a scene is no replay if the film has not gone back to its camera.
_STAYS = 10.0  # Seconds for which a scene goes on after a burst that is no replay.
_GOES_ON = 1.5  # Seconds between the motion before and after a cut.
_SLOW = 5.0  # Seconds in which a ball in slow motion may seem to rest.
_SAME_BALLS = 0.5  # Share of balls at other places in two views of the same balls: hands hide some.
_CLEARLY = 0.1  # Difference of two such shares.
_REMEMBERED = 8  # Strokes whose views are kept.


@dataclasses.dataclass
class Found:
    """A burst of motion.

    Attributes:
      scene: the scene in which it begins.
      start: seconds.
      end: seconds of the last motion.
      kind: 'stroke', 'replay', or 'suspect' while that is open.
      stroke: seconds of the strike, None if it was not seen.
      limit: end of the scene in which it ends, seconds.
    """

    scene: Scene
    start: float
    end: float
    kind: str
    stroke: float | None
    limit: float = np.inf


class Verdicts:
    """The bursts that wait for their verdicts, in order of time."""

    def __init__(self):
        """Starts without any."""
        self.waiting: list[Found] = []
        self._latest: Found | None = None
        self._latest_scene: Scene | None = None  # The scene in which the latest burst ended.
        self._uncertain: tuple[Scene, View, Burst] | None = None
        self._before: list[View] = []  # The latest strokes' views before them.
        self._after: View | None = None  # The view after the latest stroke.

    @property
    def are_open(self) -> bool:
        """True if a verdict is open."""
        return any(found.kind == "suspect" for found in self.waiting)

    def add(self, scene: Scene, seen: View, burst: Burst) -> None:
        """Adds a burst that has ended; ``seen`` is the view with the balls before it."""
        latest = self._latest
        if burst.is_running and self._uncertain is not None:
            before, view_before, begun = self._uncertain
            if scene.start - begun.end < _GOES_ON and before is not scene:
                self._take(before, view_before, begun._replace(end=burst.end, is_running=False), "stroke")
                self._latest_scene = scene
                return
        if burst.is_running and scene.start > 0:
            if latest is not None and scene.start - latest.end < _GOES_ON:
                latest.end, latest.limit, self._latest_scene = burst.end, np.inf, scene
            elif latest is not None and burst.is_certain:
                self._take(scene, seen, burst, "replay")
            return
        if latest is not None and latest.kind != "stroke" and latest.scene is scene:
            if burst.start - latest.end < _SLOW:
                latest.end = burst.end
                return
        self._take(scene, seen, burst, self._kind(scene, seen, burst))

    def _take(self, scene: Scene, seen: View, burst: Burst, kind: str) -> None:
        stroke = None if burst.is_running and scene.start > 0 else burst.start
        self._latest = Found(scene, burst.start, burst.end, kind, stroke)
        self._latest_scene, self._uncertain = scene, None
        self.waiting.append(self._latest)
        if kind == "stroke":
            self._before = [*self._before, seen][-_REMEMBERED:]
            self._after = None

    def rest(self, seen: View) -> None:
        """Notes the view after the latest burst, with the balls at rest."""
        if self._latest is not None and self._latest.kind == "stroke":
            self._after = seen

    def _kind(self, scene: Scene, seen: View, burst: Burst) -> str:
        latest = self._latest
        if latest is None or scene.start == 0 or self._latest_scene is scene:
            return "stroke"
        if burst.start - scene.start > _SOON or scene.start - latest.end > _AFTERWARDS:
            return "stroke"
        shown = min((balls_apart(before, seen) for before in self._before), default=1.0)
        left = 1.0 if self._after is None else balls_apart(self._after, seen)
        if min(shown, left) < _SAME_BALLS and abs(shown - left) > _CLEARLY:
            return "replay" if shown < left else "stroke"
        return "stroke" if self._before and is_same_camera(self._before[-1].picture, seen.picture) else "suspect"

    def leave(self, scene: Scene, seen: View, burst: Burst | None, seconds: float) -> None:
        """Ends a scene, with the burst that its end cuts off."""
        if burst is not None and (burst.is_certain or burst.is_running):
            self.add(scene, seen, burst)
        elif burst is not None:
            self._uncertain = (scene, seen, burst)
        if self._latest is not None and self._latest_scene is scene:
            self._latest.limit = min(self._latest.limit, seconds)

    def consider(self, seconds: float, scene: Scene) -> None:
        """Closes open verdicts by the present scene."""
        back = self._before and is_same_camera(self._before[-1].picture, scene.latest)
        for found in self.waiting:
            if found.kind != "suspect":
                continue
            if back and scene is not found.scene:
                found.kind = "replay"
            elif seconds - found.end > (_STAYS if scene is found.scene else _PATIENCE):
                found.kind = "stroke"

    def decided(self, until: float) -> Iterator[Found]:
        """Removes and yields what is decided, and has ended before ``until`` seconds, in order of time."""
        while self.waiting and self.waiting[0].kind != "suspect" and self.waiting[0].end + _GOES_ON < until:
            yield self.waiting.pop(0)

    def all_left(self) -> Iterator[Found]:
        """Removes and yields all, at the end of the film."""
        for found in self.waiting:
            found.kind = "stroke" if found.kind == "suspect" else found.kind
            yield found
        self.waiting = []
