"""Model FLOPs of a step of any stage: nothing computed twice, whatever the program does."""

from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.chat_flops import chat_step_flops, long_clip_step_flops, towers_flops
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.encoder_flops import train_step_flops
from hilight_jax.stages.long_clip_objective import LongClipTrainConfig
from hilight_jax.training.run_config import RunConfig


def model_flops(config: RunConfig) -> int:
    """Of the train step over the global batch; the towers of a chat stage are ``tower_flops``."""
    if isinstance(config, ChatTrainConfig):
        return chat_step_flops(config)
    if isinstance(config, LongClipTrainConfig):
        return long_clip_step_flops(config)
    assert isinstance(config, EncoderTrainConfig)
    return train_step_flops(config)


def tower_flops(config: RunConfig) -> int:
    """Of the frozen towers of a chat stage on the clips of one step, each looked at anew; 0 for other stages."""
    if not isinstance(config, ChatTrainConfig):
        return 0
    clips = config.batch_size * config.data.max_videos
    return clips * towers_flops(config.model, config.data.num_frames, config.data.key_frames.count)
