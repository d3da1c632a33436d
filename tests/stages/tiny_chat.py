"""The demo's chat stages shrunk to seconds."""

from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.load_config import load_config

SMALL = (
    "--config.model.vision.width=16",
    "--config.model.vision.depth=2",
    "--config.model.vision.num_heads=2",
    "--config.model.vision.mlp_dim=32",
    "--config.model.vision.patch_size=16",
    "--config.model.frames.width=16",
    "--config.model.frames.depth=2",
    "--config.model.frames.num_heads=2",
    "--config.model.frames.mlp_dim=32",
    "--config.model.frames.patch_size=16",
    "--config.model.frames.embed_dim=16",
    "--config.model.text.width=16",
    "--config.model.text.num_heads=2",
    "--config.model.text.mlp_dim=32",
    "--config.model.word_tracks.embed_dim=16",
    "--config.model.word_tracks.hidden=16",
    "--config.model.token_mining.width_video=16",
    "--config.model.token_mining.width_frames=16",
    "--config.model.token_mining.width_out=16",
    "--config.model.gemma.width=16",
    "--config.model.gemma.depth=2",
    "--config.model.gemma.num_heads=2",
    "--config.model.gemma.num_kv_heads=2",
    "--config.model.gemma.head_dim=8",
    "--config.model.gemma.mlp_dim=32",
    "--config.model.compute.unroll=false",
    "--config.batch_size=8",
    "--config.eval_batch_size=8",
    "--config.data.validation=questions:{data_dir}/demo-v2/1.0.0/validation,two_clips=0.1,no_clip=0.05",
)


def tiny_chat_config(
    stage: str = "align", argument: str = "demo,frames=long_clip", *overrides: str, data_dir: str = "data"
) -> ChatTrainConfig:
    """The demo's ``align`` or ``tune`` with small parts."""
    return load_config(f"configs/{stage}.py:{argument}", (*SMALL, *overrides), data_dir)
