"""Films a played shot: frames at any times, with their footage (tracks and happenings)."""

import dataclasses
import functools

import numpy as np

from hilight_jax.billiards.language.footage import Footage, Happening, Track, ball_object, is_shown
from hilight_jax.billiards.people import Person
from hilight_jax.billiards.physics.simulation import Strike
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.physics.trajectory import Event, Shot
from hilight_jax.billiards.place_names import object_names
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.cue import TIP_RADIUS
from hilight_jax.billiards.rendering.scene import Moment, Scene, Stick
from hilight_jax.billiards.rendering.surfaces import CUSHION_WIDTH

NOSE_HEIGHT = 0.037  # metres
_STICK_LENGTH, _STICK_SLOPE, _BACKSWING = 1.45, 0.09, 0.14  # metres, metres per metre, metres
_STICK_LEAVES = 0.1  # Seconds after the strike at which the cue leaves the picture.
KINDS = {"ball_ball": "strike", "cushion": "rebound", "pocket": "drop", "hangs": "hang"}


@dataclasses.dataclass(frozen=True)
class Take:
    """A shot in front of a camera.

    Attributes:
      start: time of the shot at which the first frame is taken, seconds; negative before the strike.
      has_stick: True if a cue stick is shown before and at the strike.
      rotations: [n, 3, 3] of the balls before the strike.
      people: who may be in the picture.
      late_turns: a rebound also counts as shown where the turn is seen one frame later: a ball that meets a cushion
        just before a frame has hardly turned in it.
    """

    table: Table
    shot: Shot
    strike: Strike
    camera: Camera
    start: float
    has_stick: bool
    rotations: np.ndarray
    people: tuple[Person, ...] = ()
    late_turns: bool = False

    def frames(self, scene: Scene, times: np.ndarray, shutter: float, exposures: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws the frames at ``times`` [F], seconds after the first; each is the mean of ``exposures`` instants.

        The instants are spread over the ``shutter`` time, seconds, in whose middle the frame's time lies. The scene
        must be drawn for this take's camera.

        Returns:
          uint8 frames [F, Y, X, C] and the fraction of each ball that is seen [n, F].
        """
        moments = times[:, None] + shutter * ((np.arange(exposures) + 0.5) / exposures - 0.5)
        clock = (self.start + moments).ravel()
        positions, _, _, on_table = self.shot.states(clock)
        rotations = self.shot.orientations(clock, self.rotations)
        centers = _centers(positions)
        frames, visible = [], np.zeros((len(self.shot.ball_ids), len(times)))
        for frame in range(len(times)):
            states = []
            for k in range(frame * exposures, (frame + 1) * exposures):
                present = np.flatnonzero(on_table[k])
                balls = [(self.shot.ball_ids[b], centers[k, b], rotations[k, b]) for b in present]
                limbs = [limb for person in self.people for limb in person.at(clock[k])]
                states.append(Moment(balls, self._stick(clock[k]), limbs))
            picture, seen = scene.blurred(states)
            frames.append(picture)
            visible[:, frame] = [seen.get(ball, 0.0) for ball in self.shot.ball_ids]
        return np.stack(frames), visible

    def footage(self, times: np.ndarray, visible: np.ndarray | None = None) -> Footage:
        """Records what frames at ``times`` [F], seconds after the first frame, show.

        ``visible`` [n, F] is the fraction of each ball that is seen. Before the frames are drawn it is None: a ball
        counts as seen where its centre is in the picture.
        """
        positions, velocities, _, on_table = self.shot.states(self.start + times)
        still = (velocities == 0).all(-1)
        centers = _centers(positions)
        if visible is None:
            visible = (on_table & is_inside(self.camera, centers)).astype(float).T
        names = [ball_object(ball) for ball in self.shot.ball_ids]
        everything = track(self.camera, centers, BALL_RADIUS, visible.T)
        balls = {name: everything.of(b) for b, name in enumerate(names)}
        named = {self.names.get(place): found.repeated(len(times)) for place, found in self._places.items()}
        happenings, in_gap = [], self._events_by_gap(times)
        jaw_touches = frozenset(ball_object(e.balls[0]) for gap in in_gap for e in gap if e.place == "jaw")
        for frame, event in ((f, event) for f, gap in enumerate(in_gap) for event in gap if event.place != "jaw"):
            kind, ball = KINDS[event.kind], ball_object(event.balls[0])
            at_rest = True
            if kind == "strike":
                other = ball_object(event.balls[1])
                met = balls[other]
                at_rest = bool(still[frame, names.index(other)])
            else:
                met = self._places.get(event.place)
                other = self.names.get(event.place) if met is not None else None
            shown = is_shown(
                kind,
                balls[ball],
                met,
                frame,
                potted=not on_table[frame + 1, names.index(ball)],
                at_rest=at_rest,
                sole_cause=_is_sole_cause(event, in_gap[frame]),
            )
            if self.late_turns and kind == "rebound" and _is_only_contact(event, in_gap[frame : frame + 2]):
                shown = shown or (frame + 1 < len(in_gap) and is_shown(kind, balls[ball], met, frame + 1))
            happenings.append(Happening(kind, event.time - self.start, ball, other, frame, shown))
        return Footage(
            times=times,
            balls=balls,
            on_table=dict(zip(names, on_table.T, strict=True)),
            positions=dict(zip(names, positions.transpose(1, 0, 2), strict=True)),
            places={name: found for name, found in named.items() if name is not None},
            happenings=tuple(happenings),
            stick=self._stick_track(times),
            jaw_touches=jaw_touches,
        )

    def _events_by_gap(self, times: np.ndarray) -> list[list[Event]]:
        """Returns, for each frame but the last, the events after it, up to the time of the next."""
        in_gap = [[] for _ in times[1:]]
        for event in self.shot.events:
            time = event.time - self.start
            if event.kind in KINDS and times[0] < time <= times[-1]:
                in_gap[int(np.searchsorted(times, time)) - 1].append(event)
        return in_gap

    def _stick(self, clock: float) -> Stick | None:
        """Returns tip and butt of the cue at a time of the shot; it swings before the strike and leaves after it."""
        if not self.has_stick or clock > _STICK_LEAVES:
            return None
        swing = _BACKSWING * np.sin(np.pi * np.clip(-clock / 0.5, 0, 1))
        x, y = self.shot.states([0.0]).positions[0, self.strike.ball]
        away = -np.array([np.cos(self.strike.angle), np.sin(self.strike.angle), -_STICK_SLOPE])
        ball = np.array([x, y, BALL_RADIUS])
        return ball + away * (BALL_RADIUS + 0.005 + swing), ball + away * (swing + _STICK_LENGTH)

    def _stick_track(self, times: np.ndarray) -> Track | None:
        if not self.has_stick:
            return None
        sticks = [self._stick(self.start + time) for time in times]
        present = np.array([stick is not None for stick in sticks])
        tips = np.array([np.zeros(3) if stick is None else stick[0] for stick in sticks])
        return track(self.camera, tips, TIP_RADIUS, (present & is_inside(self.camera, tips)).astype(float))

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """Object names of cushions and pockets in this picture, by the table's own names."""
        return object_names(self.camera, self.table)

    @functools.cached_property
    def _places(self) -> dict[str, Track]:
        """Returns the tracks, of one frame, of the cushions and pockets in the picture, by the table's own names.

        A cushion is put in the middle of that part of it that is in the picture, as a disc as wide as the cushion.
        Balls, the cue, a banner or a nearer rail may hide a place: its `visible` is 1 wherever it lies in the picture.
        A cushion is a strip, of which the disc is a small part; the kind of its captions' spans is 'cushion', so that
        an evaluation of where words point can leave cushions out or count them apart.
        """
        names, radii, owners, points = _landmarks(self.table)
        inside = is_inside(self.camera, points)
        found = {}
        for k in np.unique(owners[inside]):
            middle = points[inside & (owners == k)].mean(0)
            found[names[k]] = track(self.camera, middle[None], radii[k], np.ones(1))
        return found


def _is_sole_cause(event: Event, gap: list[Event]) -> bool:
    """Returns True if no other contact between the same two frames has the same effect (see `is_shown`)."""
    if event.kind == "ball_ball":
        earlier = gap[: gap.index(event)]
        return not any(other.kind == "ball_ball" and event.balls[1] in other.balls for other in earlier)
    return event.kind != "cushion" or _is_only_contact(event, [gap])


def _is_only_contact(event: Event, gaps: list[list[Event]]) -> bool:
    """Returns True if no other event between some frames is a contact of the same ball."""
    contacts = [other for gap in gaps for other in gap if other.kind in ("ball_ball", "cushion")]
    return sum(event.balls[0] in other.balls for other in contacts) == 1


def _centers(positions: np.ndarray) -> np.ndarray:
    """Centres [..., 3] of balls that lie at [..., 2] on the cloth."""
    return np.concatenate([positions, np.full_like(positions[..., :1], BALL_RADIUS)], -1)


def random_rotations(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws [count, 3, 3] rotation matrices, uniformly: orthogonal bases of Gaussian vectors, turned right-handed."""
    bases, triangles = np.linalg.qr(rng.normal(size=(count, 3, 3)))
    bases = bases * np.sign(np.diagonal(triangles, axis1=1, axis2=2))[:, None, :]
    return bases * np.linalg.det(bases)[:, None, None]


def track(camera: Camera, points: np.ndarray, radius: float, visible: np.ndarray) -> Track:
    """Projects the centres [F, 3] of a round thing; what lies behind the camera is put outside the picture."""
    pixels, depth = camera.project(points)
    size = radius * camera.focal / np.maximum(depth, 0.01)
    pixels = np.clip(np.nan_to_num(pixels, nan=-9999.0), -9999.0, 9999.0)
    return Track(pixels[..., 0], pixels[..., 1], size, visible)


def is_inside(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Returns True for points [..., 3] inside the picture, bool [...]."""
    pixels, depth = camera.project(points)
    return (depth > 0) & (pixels >= 0).all(-1) & (pixels < [camera.width, camera.height]).all(-1)


@functools.cache
def _landmarks(table: Table) -> tuple[list[str], list[float], np.ndarray, np.ndarray]:
    """Returns names and radii of cushions and pockets, points [k, 3] on them, and the owner of each point [k]."""
    lines: dict[str, list[np.ndarray]] = {}
    for rail in table.rails:
        line = np.linspace(rail.start, rail.end, 25)
        lines.setdefault(rail.name, []).append(np.column_stack([line, np.full(25, NOSE_HEIGHT)]))
    holes = {pocket.name: np.append(pocket.center, 0.0)[None] for pocket in table.pockets}
    parts = [np.concatenate(line) for line in lines.values()] + list(holes.values())
    radii = [CUSHION_WIDTH / 2] * len(lines) + [pocket.radius for pocket in table.pockets]
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return [*lines, *holes], radii, owners, np.concatenate(parts)
