"""Truths about the future, each of a shot that can be followed with a ruler."""

import dataclasses
from math import pi

import numpy as np
import pytest

from hilight_jax.billiards import prospects
from hilight_jax.billiards.language.outlook import Coming
from hilight_jax.billiards.physics.simulation import Strike, simulate
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.placing import Setup
from tests.billiards.pretend import footage, track

TABLE = Table()
NAMES = {"top": "cushion:left", "top-left": "pocket:bottom-left"}


def straight(*distances, speed=0.6, side=0.0):
    """The cue ball at x = 0.5 plays along the table at balls 1, 2, ... that lie ahead at these distances, metres."""
    positions = np.array([(0.5, 0.5), *[(0.5 + side, 0.5 + distance) for distance in distances]])
    ids = ("cue", *map(str, range(1, len(positions))))
    setup = Setup("eight_ball", ids, positions, Strike(speed, pi / 2), positions[0])
    return setup, simulate(TABLE, ids, positions, setup.strike)


def seen(setup, frames=3):
    return footage({f"ball:{ball}": track(np.full(frames, 30.0 + k)) for k, ball in enumerate(setup.ball_ids)})


def test_events_after_the_last_frame_are_told_by_their_names_in_the_picture():
    setup, shot = straight(0.3, speed=2.0)
    first = shot.events[1].time
    ahead = prospects.outlook(setup, shot, first - 0.01, seen(setup), NAMES, TABLE, np.random.default_rng(0))
    assert ahead.next[0] == Coming("strike", "ball:cue", "ball:1")
    assert Coming("rebound", "ball:1", "cushion:left") in ahead.next
    later = prospects.outlook(setup, shot, first + 0.01, seen(setup), NAMES, TABLE, np.random.default_rng(0))
    assert later.next == ahead.next[1:]


def test_a_place_without_a_name_has_none():
    setup, shot = straight(0.3, speed=2.0)
    ahead = prospects.outlook(setup, shot, 0.0, seen(setup), {}, TABLE, np.random.default_rng(0))
    assert Coming("rebound", "ball:1", None) in ahead.next


def test_without_the_first_ball_the_second_is_hit_and_struck_harder_it_comes_further():
    setup, shot = straight(0.2, 0.4)
    found = {}
    for seed in range(20):
        ahead = prospects.outlook(setup, shot, 0.0, seen(setup), NAMES, TABLE, np.random.default_rng(seed))
        found |= {(other.change, other.ball): other.events for other in ahead.alternatives}
    assert set(found) == {("without", "ball:1"), ("without", "ball:2"), ("harder", None)}
    assert found["without", "ball:1"][0] == Coming("strike", "ball:cue", "ball:2")
    assert found["without", "ball:2"][0] == Coming("strike", "ball:cue", "ball:1")
    assert all(event.other != "ball:2" for event in found["without", "ball:2"])
    assert found["harder", None][:2] == (
        Coming("strike", "ball:cue", "ball:1"),
        Coming("strike", "ball:1", "ball:2"),
    )


@pytest.mark.parametrize("late", [0.5, 5.0])
def test_a_clip_that_begins_after_the_strike_has_no_alternatives(late):
    setup, shot = straight(0.2)
    film = seen(setup)  # of a second
    ahead = prospects.outlook(setup, shot, 1.0 + late, film, NAMES, TABLE, np.random.default_rng(0))
    assert ahead.alternatives == ()
    on_time = prospects.outlook(setup, shot, 1.0, film, NAMES, TABLE, np.random.default_rng(0))
    assert on_time.alternatives


def test_a_hit_by_a_hair_is_not_settled_and_a_full_one_is():
    assert prospects.is_settled(*straight(0.3), TABLE)
    # Two radii are 57.15 mm: at 57 mm beside the line the balls just touch, and half a degree at 0.3 m is 2.6 mm.
    assert not prospects.is_settled(*straight(0.3, side=0.057), TABLE)


def test_a_potted_ball_stays_away_in_every_alternative():
    setup, _ = straight(0.2, 0.4)
    setup = dataclasses.replace(setup, potted=("1",))
    shot = simulate(TABLE, setup.ball_ids, setup.positions, setup.strike, potted=setup.potted)
    assert shot.events[1].balls == ("cue", "2") and prospects.is_settled(setup, shot, TABLE)
