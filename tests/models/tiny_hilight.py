"""A chat model small enough to compile in seconds, with parameters drawn without compiling anything."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.hilight import param_shapes
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.long_clip import FrameConfig
from hilight_jax.models.lora import LoraConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig
from hilight_jax.models.word_tracks import WordTracksConfig

VISION = VisionConfig(
    image_size=8, patch_size=4, width=16, depth=2, num_heads=2, mlp_dim=24, num_frames=3, num_proxy_tokens=2
)
FRAMES = FrameConfig(image_size=8, patch_size=4, width=12, depth=1, num_heads=3, mlp_dim=20, embed_dim=10)
GEMMA = GemmaConfig(vocab_size=40, width=14, depth=2, num_heads=3, num_kv_heads=1, head_dim=4, mlp_dim=22)
TOKEN_MINING = TokenMiningConfig(tokens_per_frame=2, width_video=16, width_frames=10, width_out=14)
CONFIG = HiLightConfig(VISION, FRAMES, TOKEN_MINING, GEMMA)
LORA = LoraConfig(rank=2, alpha=3.0)
# For a model with word tracks; CLIP's ids need its whole vocabulary.
TEXT = TextConfig(max_length=16, width=6, depth=1, num_heads=2, mlp_dim=8)
LOCAL = LocalHeadsConfig(levels=("embedding", "last"), head="mlp", text_side="embedding", center_video=True)
WORD_TRACKS = WordTracksConfig(
    num_frames=3, embed_dim=7, hidden=9, max_clips=2, octaves=2, relation_layers=2, relation_heads=2
)
TRACKED = dataclasses.replace(CONFIG, text=TEXT, local=LOCAL, word_tracks=WORD_TRACKS)
# Two key frames of two tokens.
KEY_FRAMES = 2
VIDEO_TOKENS = 4


def config(**changes: Any) -> HiLightConfig:
    """The tiny sizes with these changes."""
    return dataclasses.replace(CONFIG, **changes)


def params(config: HiLightConfig = CONFIG, seed: int = 0) -> dict[str, Any]:
    """Normal parameters of standard deviation 0.3, scales of LayerNorm about 1; LoRA changes something."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        x = 0.3 * rng.standard_normal(leaf.shape) + ("scale" in name and "gemma" not in name)
        return jnp.asarray(x, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, param_shapes(config))


def video(batch: int = 2, clips: int = 2, seed: int = 0) -> np.ndarray:
    """Clips of normalised pixels [B, U, F, Y, X, C]."""
    return np.random.default_rng(seed).normal(size=(batch, clips, 3, 8, 8, 3)).astype(np.float32)


def features(batch: int = 2, clips: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random features of clips: ``clip_tokens`` [B, U, S, D], ``frame_features`` [B, U, keys, E]."""
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(batch, clips, 2 + 3 * 4, 16)).astype(np.float32)
    return tokens, rng.normal(size=(batch, clips, KEY_FRAMES, 10)).astype(np.float32)
