"""Places of peaks on maps of 3 rows and 4 columns, built by hand."""

import numpy as np
import pytest

from hilight_jax.ops.peaks import peak_places

# Centres of the 4 columns and the 3 rows, from -1 to 1.
X, Y = (-0.75, -0.25, 0.25, 0.75), (-2 / 3, 0, 2 / 3)


def places(values):
    grid = np.zeros((3, 4), np.float32)
    for (row, column), value in values.items():
        grid[row, column] = value
    return peak_places(grid.ravel() - grid.mean(), 4)


def test_a_single_bright_patch_is_its_centre():
    np.testing.assert_allclose(places({(1, 2): 1.0}), (X[2], Y[1]), atol=1e-6)


def test_a_thing_on_two_patches_lies_between_them():
    np.testing.assert_allclose(places({(0, 1): 1.0, (0, 2): 1.0}), (0, Y[0]), atol=1e-6)


def test_the_weight_of_a_neighbour_is_what_it_has_above_the_mean():
    grid = np.array([[0, 0, 0, 0], [0, 5, 3, 0], [0, 0, 0, 4]], np.float32)  # Mean 1; the 4 is no neighbour.
    x = (4 * X[1] + 2 * X[2]) / 6
    np.testing.assert_allclose(peak_places(grid.ravel(), 4), (x, Y[1]), atol=1e-6)


def test_a_like_thing_far_away_does_not_draw_the_place():
    np.testing.assert_allclose(places({(0, 0): 1.0, (2, 3): 0.9}), (X[0], Y[0]), atol=1e-6)


def test_the_last_column_and_the_first_of_the_next_row_are_no_neighbours():
    np.testing.assert_allclose(places({(0, 3): 1.0, (1, 0): 0.9}), (X[3], Y[0]), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, -0.25])
def test_a_flat_map_has_a_finite_place(value):
    np.testing.assert_allclose(peak_places(np.full(12, value), 4), (X[0], Y[0]), atol=1e-6)


def test_maps_are_measured_one_by_one():
    maps = np.zeros((2, 3, 12))
    maps[1, 2, 7] = 1.0
    found = peak_places(maps, 4)
    assert found.shape == (2, 3, 2)
    np.testing.assert_allclose(found[1, 2], (X[3], Y[1]), atol=1e-6)
