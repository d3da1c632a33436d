import numpy as np
import pytest

from hilight_jax.data.films.ball_motion import layout
from hilight_jax.data.films.cloth import find_cloth
from hilight_jax.data.films.scenes import outline
from hilight_jax.data.films.steady import Steady, moved
from hilight_jax.data.films.table_view import balls_apart, view
from tests.data.table_films import CLOTH, RED, WHITE, table

TABLE = table([(40, 40, WHITE), (100, 65, RED)])


@pytest.mark.parametrize("shift", [(0, 0), (2, -4), (-4, 2), (0, 6)])
def test_a_shaken_picture_is_moved_back(shift):
    assert Steady(outline(TABLE)).shift(outline(moved(TABLE, shift))) == (-shift[0], -shift[1])


def test_a_ball_that_rolls_moves_no_picture():
    steady = Steady(outline(TABLE))
    rolling = [outline(table([(40 + k, 40, WHITE), (100, 65, RED)])) for k in range(0, 40, 4)]
    assert [steady.shift(picture) for picture in rolling] == [(0, 0)] * 10


def test_another_picture_is_none_of_the_scene():
    steady = Steady(outline(TABLE))
    board = np.kron(np.indices((9, 16)).sum(0) % 2 * 200, np.ones((10, 10))).astype(np.uint8)
    steady.shift(outline(np.repeat(board[..., None], 3, 2)))
    assert steady.is_lost


def test_the_cloth_is_found_with_what_lies_on_it():
    cloth = find_cloth(TABLE)
    inside = np.zeros(TABLE.shape[:2], bool)
    inside[10:80, 15:145] = True
    assert (cloth.region == inside).mean() > 0.99
    things = cloth.things(TABLE)
    assert things[40 - 10, 40 - 15] and things[65 - 10, 100 - 15] and not things[40 - 10, 70 - 15]
    assert find_cloth(np.full((90, 160, 3), CLOTH, np.uint8) // 8) is None


def test_the_same_balls_are_recognized_from_the_other_side():
    def seen(picture):
        cloth = find_cloth(picture)
        return view(outline(picture), cloth, layout(cloth, cloth.things(picture)))

    assert balls_apart(seen(TABLE), seen(TABLE[::-1, ::-1])) == 0.0
    assert balls_apart(seen(TABLE), seen(table([(70, 30, WHITE), (120, 25, RED)]))) > 0.4
