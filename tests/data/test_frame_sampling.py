import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.data import frame_sampling


def test_twelve_frames_of_23_are_every_second_one():
    assert frame_sampling.uniform_indices(23).tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]


def test_short_videos_repeat_frames():
    assert frame_sampling.uniform_indices(1).tolist() == [0] * 12
    assert frame_sampling.uniform_indices(3, 5).tolist() == [0, 0, 1, 1, 2]
    assert frame_sampling.uniform_indices(9, 1).tolist() == [0]


def test_twelve_uniform_frames_follow_the_integer_rule():
    for n in [*range(1, 400), 1799, 9001, 123_456, 199_999]:
        assert frame_sampling.uniform_indices(n).tolist() == [(n - 1) * k // 11 for k in range(12)]


def test_jitter_stays_within_one_interval_of_both_ends():
    rng = np.random.default_rng(0)
    chosen = np.stack([frame_sampling.sample_indices("jittered", 111, 12, rng) for _ in range(200)])
    assert chosen[:, 0].min() == 0 and chosen[:, 0].max() == 10
    assert chosen[:, -1].min() == 100 and chosen[:, -1].max() == 110
    assert (np.diff(chosen) > 0).all()


def test_jitter_never_leaves_a_short_video():
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 5):
        for num_frames in (1, 2, 12):
            chosen = frame_sampling.sample_indices("jittered", n, num_frames, rng)
            assert chosen.shape == (num_frames,) and 0 <= chosen.min() and chosen.max() < n


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match="sampling is 'random', but it must be one of uniform, jittered"):
        frame_sampling.sample_indices("random", 5, 2)
