import pickle

import numpy as np
import pytest

from hilight_jax.data.conversations.conversation import PickledClip, load_clip
from hilight_jax.data.pickled_clips import PickleError
from hilight_jax.data.video import VideoError
from hilight_jax.models.clip import normalise
from tests.data.clips import encode, grey_frames


def test_frames_are_spread_evenly_and_resized():
    frames = load_clip(encode(grey_frames(5)), 3, 8)
    assert frames.shape == (3, 8, 8, 3) and frames.dtype == np.uint8
    np.testing.assert_allclose(frames[:, 0, 0, 0], [0, 20, 40], atol=1)
    assert load_clip(encode(grey_frames(1)), 3, 16).shape == (3, 16, 16, 3)


def test_a_pickled_clip_gives_the_pixels_that_were_normalised(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    stored = np.moveaxis(normalise(pixels), -1, 1)
    path = tmp_path / "clip.pkl"
    path.write_bytes(pickle.dumps(np.ascontiguousarray(stored)))
    np.testing.assert_array_equal(load_clip(PickledClip(path), 4, 16), pixels)
    np.testing.assert_array_equal(load_clip(PickledClip(path), 2, 16), pixels[[0, 3]])


def test_what_overshoots_is_clamped(tmp_path):
    path = tmp_path / "clip.pkl"
    stored = np.stack([np.full((3, 4, 4), value, np.float32) for value in (-3, 3)])
    path.write_bytes(pickle.dumps(stored))
    np.testing.assert_array_equal(load_clip(PickledClip(path), 2, 4)[:, 0, 0], [[0, 0, 0], [255, 255, 255]])


def test_a_clip_that_cannot_be_read_is_a_sentence(tmp_path):
    with pytest.raises(VideoError, match="the file does not exist"):
        load_clip(str(tmp_path / "a.mp4"), 2, 8)
    with pytest.raises(PickleError, match="the file does not exist"):
        load_clip(PickledClip(tmp_path / "a.pkl"), 2, 8)
