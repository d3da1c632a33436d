"""Frames of a video, once as the model sees them and once as they are drawn."""

import pickle

import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.generation.video_clip import read_video_clip
from tests.serving.workdirs import write_video


def test_frames_are_spread_evenly_and_keep_the_videos_shape_for_drawing(tmp_path):
    path = write_video(tmp_path / "a.mp4", num_frames=6)
    footage = read_video_clip(path, 3, 32)
    assert footage.frames.shape == (3, 32, 32, 3) and footage.pictures.shape == (3, 224, 358, 3)
    assert (footage.name, footage.num_total, footage.numbers.tolist()) == ("a.mp4", 6, [0, 2, 5])
    in_memory = read_video_clip(path.read_bytes(), 3, 32)
    assert in_memory.name == "the video" and (in_memory.frames == footage.frames).all()


def test_a_short_video_repeats_frames(tmp_path):
    assert read_video_clip(write_video(tmp_path / "a.mp4", num_frames=2), 4, 16).numbers.tolist() == [0, 0, 0, 1]


def test_what_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"a\.mp4: the file of 8 bytes is not a readable video"):
        read_video_clip(tmp_path / "a.mp4", 3, 32)
    with pytest.raises(DataError, match=r"the video: the file is empty"):
        read_video_clip(b"", 3, 32)


def test_pickled_clips_are_read_if_they_hold_arrays_alone(tmp_path):
    stored = np.zeros((1, 6, 3, 16, 16), np.float32)
    stored[0, 5] = 1.0
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(stored))
    footage = read_video_clip(tmp_path / "a.pkl", 3, 16)
    assert footage.frames.shape == (3, 16, 16, 3) and footage.pictures.shape == (3, 224, 224, 3)
    assert footage.num_total == 6 and footage.numbers.tolist() == [0, 2, 5]
    assert footage.frames[:, 0, 0, 0].tolist() == [123, 123, 191]
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(print))
    with pytest.raises(DataError, match=r"b\.pkl: "):
        read_video_clip(tmp_path / "b.pkl", 3, 16)


def test_frames_may_be_named_by_number_and_have_times_and_the_videos_size(tmp_path):
    path = write_video(tmp_path / "a.mp4", num_frames=6)  # Five frames a second, 128 x 80.
    footage = read_video_clip(path, [5, 1, 1], 16)
    assert footage.numbers.tolist() == [5, 1, 1] and footage.size == (80, 128)
    np.testing.assert_allclose(footage.times, [1.0, 0.2, 0.2], atol=1e-3)
    assert (footage.frames[1] == read_video_clip(path, 6, 16).frames[1]).all()
    with pytest.raises(DataError, match=r"a\.mp4: frame 6 was asked for, but the video has the frames 0 to 5"):
        read_video_clip(path, [0, 6], 16)
    with pytest.raises(DataError, match="frame -1 was asked for"):
        read_video_clip(path, [-1], 16)
