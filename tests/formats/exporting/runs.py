"""Small trained runs to export, made without training: working directories of random weights."""

import dataclasses
import pathlib

from hilight_jax.formats.checkpoint_files import Foreign
from hilight_jax.formats.importing.imported_model import Imported
from hilight_jax.formats.importing.workdirs import write_run
from hilight_jax.models import hilight, video_text
from hilight_jax.models.clip import TextConfig
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.lora import LoraConfig
from hilight_jax.models.word_tracks import WordTracksConfig
from tests.formats.importing import checkpoints

_NOWHERE = {name: Foreign(pathlib.Path(name), {}, {}, ()) for name in ("weights", "vision", "frames")}
LORA = dataclasses.replace(checkpoints.HILIGHT, lora=LoraConfig(rank=4, alpha=8.0))
# The video tower looks at the key frames too.
SINGLE = HiLightConfig(
    vision=checkpoints.VISION,
    frames=None,
    token_mining=dataclasses.replace(checkpoints.HILIGHT.token_mining, tokens_per_frame=4),
    gemma=checkpoints.GEMMA,
)
THINGS = ("the red ball", "the cue ball")
TRACKED = dataclasses.replace(
    SINGLE,
    text=TextConfig(max_length=16, width=8, depth=1, num_heads=2, mlp_dim=8),
    local=LocalHeadsConfig(levels=("embedding", "last"), head="mlp", text_side="embedding"),
    word_tracks=WordTracksConfig(embed_dim=12, hidden=16, max_clips=2, octaves=2, relation_layers=2, relation_heads=2),
)
ENCODER = dataclasses.replace(checkpoints.CLIP_VIP, local=LocalHeadsConfig(levels=("embedding", "last"), head="mlp"))


def chat_run(workdir, config=checkpoints.HILIGHT, change=lambda params: params):
    """A run of align, or of tune when the config has an adapter; returns its parameters, as ``change`` made them."""
    params = change(checkpoints.random(hilight.param_shapes(config), 5))
    data = {}
    if config.word_tracks is not None:
        rows = config.num_video_tokens(config.vision.num_frames, len(THINGS))
        data = {"things": THINGS, "num_video_tokens": rows}
    imported = Imported("a test's", "chat", config, params, 0, {}, _NOWHERE, data=data)
    write_run(imported, workdir, tokenizer=checkpoints.TOKENIZER)
    return params


def encoder_run(workdir, config=ENCODER):
    """A run of the encoder; returns its parameters."""
    params = checkpoints.random(video_text.param_shapes(config), 6)
    write_run(Imported("a test's", "encoder", config, params, 0, {}, _NOWHERE), workdir)
    return params
