"""Marks on a table: what they cover, and that only worlds that ask for them have them."""

import dataclasses

import numpy as np
import pytest

from hilight_jax.billiards import table_marks
from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.rendering.camera import Camera
from hilight_jax.billiards.rendering.marks import Marks, Ring, Stroke, Tag, print_on, project_on
from hilight_jax.billiards.rendering.scene import Moment, Scene
from hilight_jax.billiards.worlds import EDGE, REAL

TABLE = Table()
MIDDLE = np.array([TABLE.width / 2, TABLE.length / 2])


def above(side=65, height=1.0):
    """A camera right above the middle of the table."""
    return Camera((*MIDDLE, height), (*MIDDLE, 0), (0, 1, 0), 20, side, side)


def picture(**looks):
    scene = Scene(above(), TABLE, noise=0, **looks)
    return scene.blurred([Moment([])])[0].astype(int)


def test_a_stroke_covers_a_line_with_round_ends():
    stroke = Stroke(np.array([0.0, 0.0]), np.array([1.0, 0.0]), 0.1, (255, 0, 0))
    x, y = np.array([0.5, 0.5, -0.09, -0.11, 1.05, 0.5]), np.array([0.09, 0.11, 0.0, 0.0, 0.05, 0.0])
    assert stroke.cover(x, y).tolist() == [True, False, True, False, True, True]


def test_a_ring_is_hollow_and_a_disc_is_not():
    x = np.array([0.0, 0.5, 0.9, 1.1])
    assert Ring(np.zeros(2), (0.8, 1.0), (0, 0, 0)).cover(x, 0 * x).tolist() == [False, False, True, False]
    assert Ring(np.zeros(2), (0.0, 1.0), (0, 0, 0)).cover(x, 0 * x).tolist() == [True, True, True, False]


def test_a_tag_has_a_white_border_and_turns():
    bits = np.zeros((4, 4), bool)
    bits[0, 0] = True
    x, y = np.array([-0.55, -0.35, 0.0, 0.55, 0.65]), np.array([0.0, -0.35, 0.0, 0.0, 0.0])
    assert Tag(np.zeros(2), 1.2, 0.0, bits).cover(x, y).tolist() == [True, True, False, True, False]
    turned = Tag(np.zeros(2), 1.2, np.pi / 2, bits)
    assert turned.cover(np.array([0.35]), np.array([-0.35])).tolist() == [True], "a quarter turn, counter-clockwise"


def test_printed_marks_take_the_place_of_the_colour_and_light_is_added():
    color, point = np.full((3, 2), 100, np.float32), np.array([[0.0, 5.0], [0.0, 0.0]])
    disc = Ring(np.zeros(2), (0.0, 1.0), (200, 0, 50), 0.5)
    np.testing.assert_allclose(print_on(color, point, [disc]), [[150, 100], [50, 100], [75, 100]])
    np.testing.assert_allclose(project_on(color, point, [disc]), [[200, 100], [100, 100], [125, 100]])


def test_they_are_seen_where_they_lie():
    plain = picture()
    disc = Ring(MIDDLE + (0.05, 0.0), (0.0, 0.03), (255, 255, 255))
    for marks in (Marks(printed=[disc]), Marks(projected=[disc])):
        change = np.abs(picture(marks=marks) - plain).sum(-1)
        rows, columns = np.nonzero(change > change.max() / 2)
        # 65 px show 2 tan(10 degrees) = 0.353 m, so 184 px a metre: the disc is right of the middle by 9 px.
        assert abs(rows.mean() - 32) < 1 and abs(columns.mean() - 32 - 9.2) < 1
        assert len(rows) == pytest.approx(np.pi * (0.03 * 184) ** 2, rel=0.1)


def test_the_white_balance_scales_red_and_blue():
    plain, warm = picture(cloth="grey"), picture(cloth="grey", balance=(1.2, 1.0, 0.8))
    ratio = warm[20:45, 20:45].mean((0, 1)) / plain[20:45, 20:45].mean((0, 1))
    np.testing.assert_allclose(ratio, (1.2, 1.0, 0.8), atol=0.02)


def test_a_world_without_marks_draws_nothing_at_random():
    rng = np.random.default_rng(0)
    assert table_marks.draw(EDGE, None, TABLE, rng) == Marks()
    assert rng.random() == np.random.default_rng(0).random()


def test_each_kind_is_in_its_share_of_the_clips():
    always = dataclasses.replace(REAL, printed=1.0, projected=1.0, tags=1.0)
    never = dataclasses.replace(REAL, printed=0.0, projected=0.0, tags=0.0)
    for number in range(3):
        seen, unseen = (make_clip(world, "train", number) for world in (always, never))
        assert seen.frames.shape == unseen.frames.shape == (6, 64, 64, 3)
    assert any((make_clip(always, "train", k).frames != make_clip(never, "train", k).frames).any() for k in range(3))
