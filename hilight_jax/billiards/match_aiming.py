"""Moves the cue and the player's hand around a stroke: they come, aim, swing for practice, strike, and leave."""

import dataclasses

import numpy as np

from hilight_jax.billiards import people
from hilight_jax.billiards.people import Person
from hilight_jax.billiards.physics.table import BALL_RADIUS
from hilight_jax.billiards.placing import Setup
from hilight_jax.billiards.rendering.limbs import Limb
from hilight_jax.billiards.rendering.scene import Stick

_LENGTH, _SLOPE, _FAR = 1.45, 0.09, 0.7  # metres, metres per metre, metres
_ARRIVES = 0.8  # Seconds that the cue and the hand take to come, and to leave.
_UPPER_ARM, _RISE, _GONE = 1.3, 0.5, 1.8  # metres: of the arm behind the elbow, its rise, and a hand that has left


@dataclasses.dataclass(frozen=True)
class Aiming:
    """The cue and the people of one stroke, on the clock of its shot (0 is the strike).

    Attributes:
      setup: the balls and the strike.
      comes: when the cue comes, seconds; negative.
      leaves: when it leaves.
      error: radians by which the cue points elsewhere at first; it turns to the line of the strike.
      practice: length of the practice swings, metres.
      rate: practice swings a second.
      people: the hand that guides the cue, and others.
    """

    setup: Setup
    comes: float
    leaves: float
    error: float
    practice: float
    rate: float
    people: tuple[Person, ...]

    def stick(self, clock: float) -> Stick | None:
        """Returns tip and butt of the cue, None before it comes and after it has left."""
        if not self.comes <= clock <= self.leaves + _ARRIVES:
            return None
        away = np.interp(clock, (self.comes, self.comes + _ARRIVES, self.leaves, self.leaves + _ARRIVES), (1, 0, 0, 1))
        settled = np.clip((clock - self.comes - _ARRIVES) / max(0.6 * -self.comes, 0.1), 0, 1)
        angle = self.setup.strike.angle + self.error * (1 - settled)
        distance = _FAR * away + BALL_RADIUS + 0.006 + self._swing(clock)
        backward = -np.array([np.cos(angle), np.sin(angle), -_SLOPE])
        ball = np.append(self.setup.positions[self.setup.strike.ball], BALL_RADIUS)
        return ball + backward * distance, ball + backward * (distance + _LENGTH)

    def _swing(self, clock: float) -> float:
        """Returns how far the tip is drawn back, metres; after the strike it follows the ball a little."""
        if clock > 0:
            return -min(0.12, 0.8 * self.setup.strike.speed * clock)
        if clock > -0.5:
            return 0.16 * np.sin(np.pi * np.clip(-clock / 0.5, 0, 1)) ** 2
        if clock < self.comes + _ARRIVES or clock > -0.9:
            return 0.0
        return self.practice * np.sin(np.pi * self.rate * (clock + 0.9)) ** 2


def draw(setup: Setup, wait: float, guests: bool, rng: np.random.Generator) -> Aiming:
    """Draws the aiming before a stroke that comes ``wait`` seconds after the rest began; ``guests`` adds an arm."""
    comes = -rng.uniform(0.35, 0.85) * wait
    leaves = rng.uniform(0.3, 1.2)
    cast = [_reaching(people.bridge(setup, rng), (comes, comes + _ARRIVES, leaves, leaves + _ARRIVES))]
    if guests:
        begins, stays = -wait + rng.uniform(0.3, max(0.4, wait + comes - 2.0)), rng.uniform(0.3, 1.5)
        times = (begins, begins + _ARRIVES, begins + _ARRIVES + stays, begins + 2 * _ARRIVES + stays)
        cast.append(_reaching(people.arm(setup, 3.0, rng), times))
    swing, rate, error = rng.uniform(0.02, 0.12), rng.uniform(0.6, 1.5), rng.normal(0, 0.06)
    return Aiming(setup, comes, leaves, error, swing, rate, tuple(cast))


def _reaching(hand: Person, times: tuple[float, float, float, float]) -> Person:
    """Returns a hand on a whole arm, which reaches from beside the table, that comes and leaves at four times."""
    sleeve = hand.limbs[0]
    shoulder = sleeve.end + _UPPER_ARM * hand.away + (0, 0, _RISE)
    limbs = (*hand.limbs, Limb(sleeve.end, shoulder, (sleeve.radii[1], 0.07), sleeve.color))
    return Person(limbs, hand.away, times, (_GONE, 0.0, 0.0, _GONE), _GONE)
