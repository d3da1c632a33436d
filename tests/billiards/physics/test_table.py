import numpy as np
import pytest

from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.core.errors import UserError

TABLE = Table()


def test_a_nine_foot_table_is_twice_as_long_as_wide():
    assert (TABLE.width, TABLE.length) == (0.9906, 1.9812)


def test_pocket_names_say_where_the_pockets_are():
    for pocket in TABLE.pockets:
        x, y = pocket.center
        assert ("left" in pocket.name) == (x < TABLE.width / 2)
        assert ("right" in pocket.name) == (x > TABLE.width / 2)
        assert pocket.name.startswith("top") == (y > 0.9 * TABLE.length)
        assert pocket.name.startswith("bottom") == (y < 0.1 * TABLE.length)
        assert pocket.name.endswith("side") == (y == TABLE.length / 2)
    assert len({pocket.name for pocket in TABLE.pockets}) == 6


def test_cushions_lie_on_their_sides_and_face_the_cloth():
    center = np.array([TABLE.width, TABLE.length]) / 2
    expected = {"left": (1, 0), "right": (-1, 0), "bottom": (0, 1), "top": (0, -1)}
    for rail in TABLE.rails:
        np.testing.assert_array_equal(rail.normal, expected[rail.name])
        assert (center - rail.start) @ rail.normal == pytest.approx(center @ np.abs(rail.normal))
    for cushion in TABLE.cushions:
        assert np.hypot(*cushion.normal) == pytest.approx(1)
        assert cushion.normal @ (cushion.end - cushion.start) == pytest.approx(0)
    assert [cushion.name for cushion in TABLE.cushions].count("jaw") == 12


def test_a_ball_cannot_leave_a_pocket_through_its_back():
    """Where two jaws end, a ball that touches either is already over the hole."""
    for k, pocket in enumerate(TABLE.pockets):
        into, out = TABLE.cushions[3 * k + 1], TABLE.cushions[3 * k + 2]
        for deep, normal in ((into.end, into.normal), (out.start, out.normal)):
            assert np.hypot(*(deep + BALL_RADIUS * normal - pocket.center)) < pocket.radius


def test_the_table_is_symmetric():
    swapped = TABLE.outline @ np.diag([-1, 1]) + [TABLE.width, 0]
    for point in swapped:
        assert np.hypot(*(TABLE.outline - point).T).min() < 1e-12


def test_balls_lie_on_the_cloth_and_in_the_jaws_but_not_in_cushions_holes_or_outside():
    w = TABLE.width
    places = {
        (w / 2, 0.5): True,
        (BALL_RADIUS, 0.5): True,  # touches the left cushion
        (BALL_RADIUS - 0.001, 0.5): False,
        (0.03, 0.03): True,  # in the jaws of the bottom-left pocket
        (0.02, 0.02): False,  # over it
        (-0.1, 0.5): False,
        (w / 2, -0.3): False,
    }
    np.testing.assert_array_equal(TABLE.holds(np.array(list(places))), list(places.values()))


def test_jaws_begin_at_the_line_between_the_noses():
    corner = next(pocket for pocket in TABLE.pockets if pocket.name == "bottom-left")
    assert corner.in_jaws((0.04, 0.04))
    assert not corner.in_jaws((0.05, 0.05))  # the noses are at (0.0907, 0) and (0, 0.0907)
    assert not any(pocket.in_jaws((0.04, 0.04)) for pocket in TABLE.pockets if pocket is not corner)


def test_a_table_of_a_wrong_size_is_refused_in_a_sentence():
    with pytest.raises(UserError, match="width of 0.1 m"):
        Table(width=0.1)
