"""Moves the cue and the player's hand around a stroke: they come, aim, swing for practice, strike, and leave."""

import dataclasses

import numpy as np

from hilight_jax.billiards import people
from hilight_jax.billiards.people import Person
from hilight_jax.billiards.physics.table import BALL_RADIUS
from hilight_jax.billiards.placing import Setup
from hilight_jax.billiards.rendering.scene import Stick

_LENGTH, _SLOPE, _FAR = 1.45, 0.09, 0.7  # metres, metres per metre, metres
_ARRIVES = 0.8  # Seconds that the cue and the hand take to come, and to leave.


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
    hand, leaves = people.bridge(setup, rng), rng.uniform(0.3, 1.2)
    held = dataclasses.replace(
        hand,
        times=(comes, comes + _ARRIVES, leaves, leaves + _ARRIVES),
        distances=(hand.distances[-1], 0.0, 0.0, hand.distances[-1]),
    )
    cast = [held]
    if guests:
        arm = people.arm(setup, 3.0, rng)
        begins = -wait + rng.uniform(0.3, max(0.4, wait + comes - 2.0))
        cast.append(dataclasses.replace(arm, times=tuple(time - arm.times[0] + begins for time in arm.times)))
    swing, rate, error = rng.uniform(0.02, 0.12), rng.uniform(0.6, 1.5), rng.normal(0, 0.06)
    return Aiming(setup, comes, leaves, error, swing, rate, tuple(cast))
