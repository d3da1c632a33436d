"""Rings over frames, read pixel by pixel."""

import re
from importlib import resources

import numpy as np
from PIL import ImageColor

from hilight_jax.pages.rings import COLOURS, Ring, draw_rings

SIDE, STRIP = 240, 20


def ring(name, places, seen):
    return Ring(name, np.array(places, float), np.array(seen), 20.0)


def colour_at(picture, x, y):
    return picture[round(y), round(x)].astype(int)


def test_a_ring_lies_at_its_radius_in_its_colour_where_the_thing_is_seen():
    pictures = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    first = ring("red ball", [(100, 80), (50, 50)], [True, False])
    second = ring("blue ball", [(150, 150), (60, 160)], [True, True])
    drawn = draw_rings(pictures, [first, second], ["a", "b"])
    assert drawn.shape == (2, SIDE + 3 * STRIP, SIDE, 3)  # Two names above, a note below.
    colours = [np.array(ImageColor.getrgb(colour)) for colour in COLOURS]
    for frame, (x, y), colour in ((0, (100, 80), 0), (0, (150, 150), 1), (1, (60, 160), 1)):
        around = drawn[frame, 2 * STRIP :].astype(int)
        assert abs(around[y, x + 20 - 2 : x + 20 + 6] - colours[colour]).sum(-1).min() < 30
        assert (around[y, x] == 0).all()
    hidden = drawn[1, 2 * STRIP :].astype(int)
    assert (abs(hidden - colours[0]).sum(-1) > 100).all()


def test_a_small_picture_has_room_for_the_names():
    drawn = draw_rings(np.zeros((1, 64, 64, 3), np.uint8), [ring("the red ball", [(5, 5)], [False])], ["frame 1"])
    assert drawn.shape == (1, 64 + 2 * STRIP, SIDE, 3)
    assert drawn[0, :STRIP].max() > 200  # The name.


def test_the_page_and_the_pictures_have_the_same_colours():
    script = (resources.files("hilight_jax.serving") / "page" / "rings.js").read_text(encoding="utf-8")
    named = re.search(r"RING_COLOURS = \[(.*?)\]", script)[1]
    assert tuple(re.findall(r"#[0-9a-f]{6}", named)) == COLOURS
