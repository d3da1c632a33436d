import numpy as np
import pytest

from hilight_jax.billiards.patches import patch_weights


def weights(x, y, radius, visible=1.0, height=32, width=48, patch=16):
    row = patch_weights(*(np.array([value], float) for value in (x, y, radius, visible)), height, width, patch)
    return row[0].reshape(height // patch, width // patch)


def test_a_disc_inside_one_patch_gives_it_all_the_weight():
    np.testing.assert_allclose(weights(24, 8, 5), [[0, 1, 0], [0, 0, 0]], atol=1e-12)


def test_a_disc_on_a_corner_of_patches_is_quartered():
    np.testing.assert_allclose(weights(16, 16, 6), [[0.25, 0.25, 0], [0.25, 0.25, 0]], atol=1e-12)


def test_a_disc_halved_by_the_image_border_keeps_half_its_area():
    np.testing.assert_allclose(weights(48, 8, 4), [[0, 0, 0.5], [0, 0, 0]], atol=1e-12)


def test_an_invisible_disc_weighs_nothing():
    assert not weights(24, 8, 5, visible=0.0).any()


def test_a_disc_larger_than_a_patch_matches_counted_points():
    x, y, radius = 20.3, 13.7, 11.2
    step = 0.05
    points_y, points_x = np.mgrid[0:32:step, 0:48:step] + step / 2
    inside = np.hypot(points_x - x, points_y - y) < radius
    counted = inside.reshape(2, 320, 3, 320).sum((1, 3)) * step**2 / (np.pi * radius**2)
    np.testing.assert_allclose(weights(x, y, radius), counted, atol=2e-4)


def test_patches_are_numbered_row_by_row_in_every_frame():
    found = patch_weights(np.array([8.0, 40.0]), np.array([24.0, 8.0]), np.full(2, 3.0), np.ones(2), 32, 48, 16)
    np.testing.assert_allclose(found, [[0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0]], atol=1e-12)


def test_a_patch_size_that_does_not_divide_the_image_is_refused():
    with pytest.raises(ValueError, match="does not divide"):
        weights(1, 1, 1, patch=10)
