import numpy as np

from hilight_jax.billiards import people
from hilight_jax.billiards.physics.simulation import Strike
from hilight_jax.billiards.placing import Setup
from hilight_jax.billiards.rendering.camera import Camera

SETUP = Setup(
    "eight_ball", ("cue", "1"), np.array([(0.5, 0.5), (0.5, 0.8)]), Strike(1.0, np.pi / 2), np.array([0.5, 0.6])
)
CAMERA = Camera((0.5, -0.2, 1.0), (0.5, 0.6, 0), (0, 0, 1), 30, 80, 80)


def test_a_person_comes_stays_and_goes_in_a_straight_line():
    limb = people.arm(SETUP, 2.0, np.random.default_rng(0)).limbs[0]
    person = people.Person((limb,), np.array([1.0, 0, 0]), (0.0, 1.0, 2.0, 3.0), (0.5, 0.0, 0.0, 0.5))
    assert person.at(-1.0) == [] and person.at(3.0) == []
    np.testing.assert_allclose(person.at(0.5)[0].start - limb.start, (0.25, 0, 0))
    np.testing.assert_allclose(person.at(1.5)[0].end, limb.end)


def test_the_bridge_hand_lies_behind_the_cue_ball_until_the_strike():
    for seed in range(10):
        person = people.bridge(SETUP, np.random.default_rng(seed))
        reach = max(max(limb.start[1], limb.end[1]) for limb in person.at(0.0))
        assert 0.2 < reach < 0.5 - 0.0286, "before the cue ball at y = 0.5, which is played along +y"
        assert person.at(1.1) == []


def test_a_body_stands_beside_the_picture_and_not_before_the_camera():
    for seed in range(20):
        trunk = people.body(SETUP, CAMERA, np.random.default_rng(seed)).at(0.5)[0]
        away = trunk.start[:2] - SETUP.focus
        assert 0.34 < np.hypot(*away) < 0.55
        assert away[1] > -0.1, "the camera is on the side of -y"
