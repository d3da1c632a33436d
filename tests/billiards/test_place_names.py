import pytest

from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.place_names import pocket_names, side_names
from hilight_jax.billiards.rendering.camera import Camera

TABLE = Table()
MIDDLE = (TABLE.width / 2, TABLE.length / 2, 0)


def from_above(up):
    return Camera((*MIDDLE[:2], 3.0), MIDDLE, up, 40, 64, 64)


def test_seen_from_above_with_the_far_end_up_all_keep_their_names():
    sides = side_names(from_above((0, 1, 0)))
    assert sides == {side: side for side in ("left", "right", "bottom", "top")}
    assert pocket_names(TABLE, sides)["right-side"] == "right-middle"
    assert pocket_names(TABLE, sides)["top-left"] == "top-left"


def test_a_camera_turned_by_a_quarter_renames_everything():
    # With +x up in the picture, +y points left: the table's right cushion is on top, its top cushion on the left.
    sides = side_names(from_above((1, 0, 0)))
    assert sides == {"right": "top", "left": "bottom", "top": "left", "bottom": "right"}
    pockets = pocket_names(TABLE, sides)
    assert pockets["right-side"] == "top-middle" and pockets["top-right"] == "top-left"
    assert len(set(pockets.values())) == 6


def test_a_camera_at_the_far_end_swaps_left_and_right():
    sides = side_names(Camera((MIDDLE[0], 4.0, 1.5), MIDDLE, (0, 0, 1), 44, 64, 64))
    assert sides == {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


@pytest.mark.parametrize("eye", [(-1.3, -0.5, 1.3), (2.5, 2.5, 1.3)])
def test_a_table_seen_cornerwise_has_no_left_or_top(eye):
    assert side_names(Camera(eye, MIDDLE, (0, 0, 1), 50, 64, 64)) == {}
    assert pocket_names(TABLE, {}) == {}
