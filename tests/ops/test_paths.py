"""Paths through maps that can be followed by hand."""

import numpy as np
import pytest

from hilight_jax.ops.paths import LARGEST_COST, best_path, isolated


def maps_of(*frames, size=(6, 8)):
    """Maps with values at (row, column)."""
    maps = np.zeros((len(frames), *size), np.float32)
    for grid, values in zip(maps, frames, strict=True):
        for place, value in values.items():
            grid[place] = value
    return maps


def test_a_lure_in_one_frame_does_not_break_a_path():
    lure = {(5, 7): 0.55}
    maps = maps_of({(1, 1): 0.5}, {(1, 2): 0.5, **lure}, {(1, 3): 0.5})
    assert best_path(maps, np.array([0.0, 0.1, 0.2])).tolist() == [[1, 1], [1, 2], [1, 3]]


def test_what_is_better_in_most_frames_is_followed():
    maps = maps_of({(1, 1): 0.5, (5, 7): 0.6}, {(1, 1): 0.5, (5, 6): 0.6}, {(1, 1): 0.5, (5, 5): 0.6})
    assert best_path(maps, np.arange(3.0)).tolist() == [[5, 7], [5, 6], [5, 5]]


def test_a_thing_may_reappear_anywhere_for_a_bounded_cost():
    strong = LARGEST_COST + 0.01
    maps = maps_of({(0, 0): 0.5}, {(0, 0): 0.5, (5, 7): 0.5 + strong})
    assert best_path(maps, np.array([0.0, 0.01])).tolist() == [[0, 0], [5, 7]]
    weak = maps_of({(0, 0): 0.5}, {(0, 0): 0.5, (5, 7): 0.5 + LARGEST_COST - 0.01})
    assert best_path(weak, np.array([0.0, 0.01])).tolist() == [[0, 0], [0, 0]]


def test_the_same_way_costs_less_over_a_longer_time():
    maps = maps_of({(2, 0): 0.5}, {(2, 0): 0.45, (2, 6): 0.5})
    assert best_path(maps, np.array([0.0, 5.0])).tolist() == [[2, 0], [2, 6]]
    assert best_path(maps, np.array([0.0, 0.1])).tolist() == [[2, 0], [2, 0]]


@pytest.mark.parametrize("frames", [1, 2])
def test_flat_maps_and_single_frames_have_a_path(frames):
    assert best_path(np.zeros((frames, 3, 3), np.float32), np.arange(float(frames))).shape == (frames, 2)


def test_a_single_patch_stands_out_and_a_larger_area_does_not():
    maps = maps_of({(2, 2): 1.0})
    assert isolated(maps)[0, 2, 2] == 1.0 and isolated(maps)[0, 2, 4] == pytest.approx(-1 / 16)
    area = np.zeros((1, 9, 9), np.float32)
    area[0, 1:8, 1:8] = 1.0
    assert isolated(area)[0, 4, 4] == 0.0


def test_a_patch_at_an_edge_or_in_a_corner_stands_out_as_one_in_the_middle():
    for place in ((0, 0), (0, 4), (5, 7)):
        assert isolated(maps_of({place: 1.0}))[0, *place] == 1.0
    assert isolated(np.ones((1, 2, 2), np.float32)).tolist() == [[[1.0, 1.0], [1.0, 1.0]]]
