"""Puts people into a clip: the bridge hand behind the cue ball, an arm over the table, a body at its edge.

They come and go in a straight line and touch no ball, but may hide some.
"""

import dataclasses

import numpy as np

from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.placing import Setup
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.limbs import Limb

# sRGB, 0..255.
_SKINS = ((236, 196, 168), (208, 156, 120), (164, 112, 78), (104, 68, 48))
_SLEEVES = ((28, 28, 34), (226, 226, 222), (90, 96, 108), (52, 74, 110), (116, 44, 52))
_FINGERS = ((-0.45, 0.062), (-0.14, 0.078), (0.14, 0.076), (0.45, 0.06), (1.1, 0.05))  # angle, rad, and length, m

_GONE = 0.5  # Metres from the nearest place at which a hand or an arm is out of the picture.


@dataclasses.dataclass(frozen=True)
class Person:
    """A part of a person that moves along a straight line.

    Attributes:
      limbs: at the place nearest to the middle of the picture.
      away: [3] unit vector along which it leaves.
      times: of the shot's clock, seconds, rising.
      distances: from the nearest place at these times, metres; linear in between and constant beyond.
      gone: distance at which nothing of it is in the picture, metres.
    """

    limbs: tuple[Limb, ...]
    away: np.ndarray
    times: tuple[float, ...]
    distances: tuple[float, ...]
    gone: float = _GONE

    def at(self, clock: float) -> list[Limb]:
        """Returns the limbs at a time of the shot, seconds after the strike; none of somebody who is gone."""
        distance = np.interp(clock, self.times, self.distances)
        if distance >= self.gone:
            return []
        shift = self.away * distance
        return [limb._replace(start=limb.start + shift, end=limb.end + shift) for limb in self.limbs]


def bridge(setup: Setup, rng: np.random.Generator) -> Person:
    """Returns the hand that guides the cue behind the cue ball; it leaves after the strike."""
    angle = setup.strike.angle
    along = np.array([np.cos(angle), np.sin(angle), 0])
    palm = np.append(setup.positions[setup.strike.ball], 0.03) - along * rng.uniform(0.17, 0.22)
    heading = angle + pick((-1, 1), rng) * rng.uniform(0.2, 0.6)
    limbs = _hand(palm, heading, pick(_SKINS, rng), pick(_SLEEVES, rng))
    leaves = rng.uniform(0.1, 0.5)
    return Person(limbs, -_level(heading), (leaves, leaves + 0.5), (0.0, _GONE))


def arm(setup: Setup, length: float, rng: np.random.Generator) -> Person:
    """Returns an arm that reaches over the table some time in a clip of ``length`` seconds."""
    heading = rng.uniform(0, 2 * np.pi)
    palm = np.append(setup.focus, rng.uniform(0.05, 0.14)) - _level(heading) * rng.uniform(0.06, 0.16)
    palm += _level(heading + np.pi / 2) * rng.uniform(-0.08, 0.08)
    comes = rng.uniform(-0.5, 0.8) * length
    stays = rng.uniform(0.1, 0.5) * length
    times = (comes, comes + 0.3, comes + 0.3 + stays, comes + 0.6 + stays)
    limbs = _hand(palm, heading, pick(_SKINS, rng), pick(_SLEEVES, rng))
    return Person(limbs, -_level(heading), times, (_GONE, 0.0, 0.0, _GONE))


def body(setup: Setup, camera: Camera, rng: np.random.Generator) -> Person:
    """Returns a body beside the picture's middle, never between the camera and the table, that walks slowly."""
    toward_eye = np.subtract(camera.eye, camera.target)[:2]
    place = np.arctan2(toward_eye[1], toward_eye[0]) + np.pi + rng.uniform(-1.6, 1.6)
    foot = np.append(setup.focus, 0) + _level(place) * rng.uniform(0.35, 0.45)
    lean = _level(place) * rng.uniform(-0.05, 0.1)
    trunk = Limb(foot - (0, 0, 0.3), foot + lean + (0, 0, 0.3), (0.17, 0.19), pick(_SLEEVES, rng))
    walk = pick((-1, 1), rng) * rng.uniform(0, 0.12)
    return Person((trunk,), _level(place + np.pi / 2), (-1.0, 3.0), (-walk, walk))


def _hand(palm: np.ndarray, heading: float, skin: tuple, sleeve: tuple) -> tuple[Limb, ...]:
    """Returns a hand whose fingers point to ``heading``, radians, and its forearm, which rises behind it."""
    ahead = _level(heading)
    wrist, knuckles = palm - 0.045 * ahead, palm + 0.025 * ahead
    elbow = wrist - 0.32 * ahead + (0, 0, 0.1)
    fingers = tuple(
        Limb(knuckles, knuckles + length * _level(heading + turn) - (0, 0, 0.015), (0.011, 0.008), skin, False)
        for turn, length in _FINGERS
    )
    cuff = wrist + 0.12 * (elbow - wrist)
    return (
        Limb(cuff, elbow, (0.036, 0.05), sleeve),
        Limb(wrist, cuff, (0.028, 0.03), skin, False),
        Limb(wrist, knuckles, (0.032, 0.038), skin),
        *fingers,
    )


def _level(angle: float) -> np.ndarray:
    """Returns the level unit vector [3] of an angle, radians."""
    return np.array([np.cos(angle), np.sin(angle), 0.0])
