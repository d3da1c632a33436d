import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.data import frame_sampling
from hilight_jax.data.frame_sampling import KeyFrameConfig, choose_key_frames


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


def clip(*levels):
    """A clip of one pixel of three colours, each frame grey of this level."""
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 1, 1, 3), np.uint8)


def chosen(rule, count, frames, **more):
    found = choose_key_frames(KeyFrameConfig(rule, count, **more), frames)
    assert found.dtype == np.int32
    return found.tolist()


def test_uniform_spreads_and_repeats_in_a_short_clip():
    assert chosen("uniform", 3, clip(*range(9))) == [0, 4, 8]
    assert chosen("uniform", 4, clip(0, 0)) == [0, 0, 0, 1]


def test_explicit_frames_are_taken_as_they_are():
    assert chosen("explicit", 2, clip(*range(6)), indices=(1, 5)) == [1, 5]


def test_content_looks_where_things_change():
    """All change lies between frames 5 and 8."""
    still_then_moving = clip(0, 0, 0, 0, 0, 0, 80, 160, 240, 240)
    assert chosen("content", 4, still_then_moving) == [0, 6, 7, 9]


def test_content_takes_a_still_clip_evenly():
    assert chosen("content", 3, clip(*[7] * 9)) == [0, 4, 8]
    assert chosen("content", 1, clip(*[7] * 9)) == [4]


def test_content_never_repeats_a_frame():
    """One jump holds all the change; the frames beside it are taken, each once."""
    jump = clip(0, 0, 0, 255, 255, 255)
    for count in range(1, 7):
        found = chosen("content", count, jump)
        assert len(set(found)) == count and sorted(found) == found and 0 <= found[0] and found[-1] <= 5
    assert chosen("content", 6, jump) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"count": 0}, "key_frames.count is 0"),
        ({"indices": (1,)}, "the rule 'uniform' does not read them"),
        ({"rule": "explicit", "count": 3, "indices": (1, 2)}, "name 2 frames, but key_frames.count is 3"),
        ({"rule": "explicit", "count": 2, "indices": (2, 2)}, "must be rising numbers from 0 on: no frame twice"),
        ({"rule": "explicit", "count": 2, "indices": (-1, 2)}, "must be rising numbers from 0 on"),
    ],
)
def test_fields_that_contradict_are_one_sentence(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        KeyFrameConfig(**fields)


def test_a_clip_with_too_few_frames_is_refused():
    with pytest.raises(ConfigError, match="name frame 7, but a clip has the frames 0 to 3"):
        chosen("explicit", 1, clip(*range(4)), indices=(7,))
    with pytest.raises(ConfigError, match="count is 5, but a clip has 4 frames and the rule 'content' repeats none"):
        chosen("content", 5, clip(*range(4)))
