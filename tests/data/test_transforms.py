import numpy as np

from hilight_jax.data import transforms


def test_halving_with_antialias_uses_keys_kernel_stretched_to_eight_taps():
    # Keys a=-0.5 at distances 0.25, 0.75, 1.25, 1.75 (in output pixels), each side.
    taps = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    np.testing.assert_allclose(transforms.resize_matrix(16, 8)[3], [0, 0, 0, *taps, 0, 0, 0, 0, 0], atol=1e-12)


def test_without_antialias_halving_uses_four_taps_with_torchs_kernel():
    # Keys a=-0.75 at distances 1.5, 0.5, 0.5, 1.5.
    row = transforms.resize_matrix(16, 8, antialias=False)[3]
    np.testing.assert_allclose(row[5:9], [-0.09375, 0.59375, 0.59375, -0.09375], atol=1e-12)
    assert np.count_nonzero(row) == 4


def test_rows_sum_to_one_at_the_borders_too():
    for antialias in (True, False):
        for num_in, num_out in ((17, 24), (61, 24), (5, 224), (224, 3)):
            np.testing.assert_allclose(transforms.resize_matrix(num_in, num_out, antialias).sum(1), 1, atol=1e-12)


def test_resizing_is_the_two_matrices():
    frames = np.random.default_rng(0).random((2, 37, 50, 3))
    rows, columns = transforms.resize_matrix(37, 40), transforms.resize_matrix(50, 21)
    expected = np.einsum("yY,xX,fYXc->fyxc", rows, columns, frames)
    np.testing.assert_allclose(transforms.resize(frames, (40, 21)), expected, atol=1e-12)


def test_the_same_size_gives_the_same_pixels():
    frames = np.random.default_rng(0).random((1, 12, 9, 3))
    np.testing.assert_allclose(transforms.resize(frames, (12, 9)), frames, atol=1e-15)


def test_an_overshoot_is_kept_in_floats_and_clamped_in_uint8():
    edge = np.zeros((1, 8, 8, 3), np.uint8)
    edge[:, :, 4:] = 255
    resized = transforms.resize(edge / 255, (16, 16))
    assert resized.min() < -0.01 and resized.max() > 1.01
    small = transforms.to_uint8_size(edge, (16, 16))
    assert small.dtype == np.uint8 and small.min() == 0 and small.max() == 255


def test_frames_of_the_right_size_pass_untouched():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    assert transforms.to_uint8_size(frames, (8, 8)) is frames
