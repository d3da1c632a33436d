import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.frame_sampling import KeyFrameConfig


def test_without_buckets_every_batch_has_the_greatest_length():
    assert ConversationDataConfig(max_length=600).buckets == (600,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_videos": 0}, "config.data.max_videos is 0, but must be at least 1"),
        ({"max_bad_fraction": -1.0}, "must lie between 0 and 1"),
        ({"buckets": (512,)}, r"config.data.buckets are \[512\], but must rise .* to config.data.max_length, 1024"),
        ({"buckets": (512, 512, 1024)}, "must rise"),
        ({"max_videos": 3}, "3 clips of 384 tokens leave no room for words in config.data.max_length, 1024"),
        ({"key_frames": KeyFrameConfig("content", 13)}, "key_frames.count is 13, but a clip has 12 frames"),
    ],
)
def test_a_wrong_config_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        ConversationDataConfig(**values)
