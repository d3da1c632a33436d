from math import pi

import numpy as np
import pytest

from hilight_jax.billiards.filming import Take
from hilight_jax.billiards.physics.simulation import Strike, simulate
from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.rendering.camera import Camera

TABLE = Table()
SPOT = (0.25, 0.5)
CAMERA = Camera((*SPOT, 1.0), (*SPOT, 0), (0, 1, 0), 40, 80, 80)


def take(late_turns, start=0.0):
    """A ball 0.2 m from the left cushion plays straight at it."""
    shot = simulate(TABLE, ("cue", "1"), np.array([(0.2 + BALL_RADIUS, 0.5), (0.4, 0.6)]), Strike(0.5, pi))
    return Take(TABLE, shot, Strike(0.5, pi), CAMERA, start, False, np.stack([np.eye(3)] * 2), late_turns=late_turns)


def rebound(footage):
    return next(happening for happening in footage.happenings if happening.kind == "rebound")


@pytest.mark.parametrize(("share", "plain", "late"), [(0.1, True, True), (0.9, False, True)])
def test_a_rebound_just_before_a_frame_shows_in_the_next_one(share, plain, late):
    """``share`` of the time between two frames passes before the ball meets the cushion."""
    gap = 0.25
    meets = next(event.time for event in take(False).shot.events if event.kind == "cushion")
    start = meets - (1 + share) * gap
    for late_turns, shown in ((False, plain), (True, late)):
        found = rebound(take(late_turns, start).footage(np.arange(5) * gap))
        assert (found.frame, found.other, found.shown) == (1, "cushion:left", shown)


def test_a_late_turn_needs_a_further_frame():
    gap = 0.25
    meets = next(event.time for event in take(False).shot.events if event.kind == "cushion")
    found = rebound(take(True, meets - 1.9 * gap).footage(np.arange(3) * gap))
    assert found.frame == 1 and not found.shown
