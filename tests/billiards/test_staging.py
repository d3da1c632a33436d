"""Windows of a shot in which the cue ball rolls into a ball that falls into a pocket."""

from math import pi

import numpy as np
import pytest

from hilight_jax.billiards import staging
from hilight_jax.billiards.physics.simulation import Strike, simulate
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.worlds import EDGE
from tests.billiards.pretend import footage, track

TABLE = Table()


@pytest.fixture(scope="module")
def shot():
    """The cue ball 0.25 m behind a ball that lies before the left side pocket."""
    middle = TABLE.length / 2
    positions = np.array([(0.40, middle), (0.15, middle)])
    return simulate(TABLE, ("cue", "1"), positions, Strike(0.5, pi))


def time_of(shot, kind):
    return next(event.time for event in shot.events if event.kind == kind)


@pytest.mark.parametrize(("act", "awaited"), [("early", "ball_ball"), ("nearly", "pocket")])
def test_an_unfinished_clip_ends_just_before_the_awaited_event(shot, act, awaited):
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, times = staging.window(EDGE, act, shot, rng)
        assert times[0] == 0 and len(times) == 6
        assert 0.019 <= time_of(shot, awaited) - (start + times[-1]) <= 0.101
        assert start <= 0 or act == "nearly"


def test_a_shot_without_the_awaited_event_has_no_window():
    missed = simulate(TABLE, ("cue", "1"), np.array([(0.40, 0.5), (0.6, 1.5)]), Strike(0.2, pi))
    assert not [event for event in missed.events if event.kind in ("ball_ball", "pocket")]
    assert staging.window(EDGE, "nearly", missed, np.random.default_rng(0)) is None


def test_a_contact_right_after_the_strike_leaves_nothing_to_see():
    soon = simulate(TABLE, ("cue", "1"), np.array([(0.40, 0.5), (0.46, 0.5)]), Strike(0.5, 0.0))
    assert staging.window(EDGE, "early", soon, np.random.default_rng(0)) is None


def test_balls_at_rest_are_shown_before_the_strike_and_rolling_ones_after_it(shot):
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, times = staging.window(EDGE, "rest", shot, rng)
        assert start + times[-1] < 0
        assert staging.window(EDGE, "rolling", shot, rng)[0] > 0
        assert -EDGE.lead <= staging.window(EDGE, "shot", shot, rng)[0] <= 0


def test_a_clip_without_the_cue_ball_must_not_show_any_of_it():
    still, gone, glimpsed = track([30.0, 30.0]), track([0.0, 0.0], visible=0), track([0.0, 0.0], visible=[0, 0.1])
    assert staging.is_worth_showing(EDGE, "rest", footage({"ball:cue": gone, "ball:1": still}))
    assert not staging.is_worth_showing(EDGE, "rest", footage({"ball:cue": glimpsed, "ball:1": still}))


def test_a_clip_of_a_rolling_ball_shows_it_roll():
    gone, still, rolls = track([0.0, 0.0], visible=0), track([30.0, 30.0]), track([30.0, 36.0])
    assert staging.is_worth_showing(EDGE, "rolling", footage({"ball:cue": gone, "ball:1": rolls}))
    assert not staging.is_worth_showing(EDGE, "rolling", footage({"ball:cue": gone, "ball:1": still}))


def test_a_ball_that_is_too_small_is_not_shown():
    gone, small = track([0.0, 0.0], visible=0), track([30.0, 30.0], radius=3.9)
    assert not staging.is_worth_showing(EDGE, "rest", footage({"ball:cue": gone, "ball:1": small}))
