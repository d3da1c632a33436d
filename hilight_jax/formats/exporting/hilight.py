"""A chat model as the files of HiLight's original code (motern88/HiLight at cad0ec8), which loads them unchanged.

```
hilight/                            the language model with token mining: config.json, sharded safetensors
model_zoo/CLIP-ViP/                 the video tower, and the config that the original reads its sizes from
model_zoo/Long-CLIP/longclip-B.pt   a whole Long-CLIP
model_zoo/TokenMining/              token mining once more: predict_cli needs it by itself
model_zoo/LLM/gemma/tokenizer/      Gemma's tokenizer
```
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.trees import Tree
from hilight_jax.data.conversations.gemma_tokenizer import BOS_ID, EOS_ID, PAD_ID
from hilight_jax.formats import clip_names, gemma_names, hilight_names, long_clip_names
from hilight_jax.formats.exporting.exported_model import ExportedChat
from hilight_jax.formats.exporting.huggingface_configs import clip_vision_sizes, gemma_sizes
from hilight_jax.formats.safetensors_files import SHARD_BYTES, write_shards
from hilight_jax.formats.torch_files import write_torch_file
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.hilight_config import HiLightConfig

# HiLight's pinned version, which its files name.
_TRANSFORMERS = "4.38.0"
_CLIP_PREFIX = "clipmodel."
VIDEO_TOWER = Path("model_zoo/CLIP-ViP/pretrain_clipvip_base_16.pt")
VIDEO_CONFIG = Path("model_zoo/CLIP-ViP/clipvip-vision_config.json")
FRAME_TOWER = Path("model_zoo/Long-CLIP/longclip-B.pt")
TOKEN_MINING = Path("model_zoo/TokenMining/token_mining.bin")
TOKENIZER = Path("model_zoo/LLM/gemma/tokenizer")
LANGUAGE_MODEL = Path("hilight")
# Sizes that are constants in the original's code.
_FRAMES, _PROXIES, _HEAD_WIDTH, _TOKENS_PER_FRAME = 12, 4, 64, 32
_WIDTHS = (768, 512, 2048)


def write_hilight(model: ExportedChat, directory: Path, shard_bytes: int = SHARD_BYTES) -> list[str]:
    """Writes the files of a model without an adapter into an existing directory.

    Returns:
      Sentences about differences in the original's results.

    Raises:
      ConfigError: The original has no such model: a size that is written into its code, another connector.
    """
    check(model.config)
    for place in (VIDEO_TOWER, FRAME_TOWER, TOKEN_MINING, TOKENIZER / "x", LANGUAGE_MODEL / "x"):
        (directory / place).parent.mkdir(parents=True, exist_ok=True)
    params, extra = model.params, model.extra
    mining = hilight_names.to_official({"token_mining": params["token_mining"]})
    language = gemma_names.to_official(params["gemma"])
    write_shards(directory / LANGUAGE_MODEL, {**language, **mining}, shard_bytes=shard_bytes)
    dtype = np.dtype(next(iter(mining.values())).dtype).name
    write_object(directory / LANGUAGE_MODEL / "config.json", language_config(model.config.gemma, dtype))
    write_object(directory / LANGUAGE_MODEL / "generation_config.json", generation_config())
    write_torch_file(directory / TOKEN_MINING, hilight_names.to_official({"token_mining": params["token_mining"]}))
    write_torch_file(directory / VIDEO_TOWER, _video_tower(params["vision"], extra.get("encoder", {})))
    write_object(directory / VIDEO_CONFIG, video_config(model.config, extra.get("encoder", {})))
    write_torch_file(directory / FRAME_TOWER, _frame_tower(model.config, params["frames"], extra.get("long_clip", {})))
    shutil.copyfile(model.tokenizer, directory / TOKENIZER / "tokenizer.model")
    write_object(directory / TOKENIZER / "tokenizer_config.json", tokenizer_config())
    return _limits(model)


def check(config: HiLightConfig) -> None:
    """Refuses a model that the original's code cannot load.

    Raises:
      ConfigError: The key, its value and what the original has.
    """
    if config.word_tracks is not None:
        raise ConfigError(
            "this model has word tracks, for which the original's code has no place; use --format huggingface or "
            "stablehlo."
        )
    if config.frames is None:
        raise ConfigError(
            "this model looks at key frames through its video tower, but the original always has a Long-CLIP; train it "
            "with frames=long_clip, or use --format huggingface."
        )
    mining, frames, gemma_config = config.token_mining, config.frames, config.gemma
    wanted = [
        ("token_mining.structure", mining.structure, "dual_projector"),
        ("token_mining.expansion", mining.expansion, "reinterpret"),
        ("token_mining.final_norm", mining.final_norm, False),
        ("token_mining.final_relu", mining.ends_in_relu, True),
        ("token_mining.positions", mining.positions, False),
        ("token_mining.num_heads", mining.num_heads, 1),
        ("token_mining.residual", mining.residual, False),
        ("token_mining.tokens_per_frame", mining.tokens_per_frame, _TOKENS_PER_FRAME),
        ("vision.num_frames", config.vision.num_frames, _FRAMES),
        ("vision.num_proxy_tokens", config.vision.num_proxy_tokens, _PROXIES),
        ("vision.temporal_embedding", config.vision.temporal_embedding, True),
        ("frames.num_heads", frames.num_heads, frames.width // _HEAD_WIDTH),
        ("gemma.num_heads * gemma.head_dim", gemma_config.num_heads * gemma_config.head_dim, gemma_config.width),
    ]
    for name, value, theirs in wanted:
        if value != theirs:
            raise ConfigError(
                f"{name} is {value!r}, but the original's code has only {theirs!r}; use --format huggingface."
            )


def language_config(config: GemmaConfig, dtype: str) -> dict[str, Any]:
    """The config.json of ``HiLightGemmaForCausalLM`` as transformers 4.38 writes it."""
    return gemma_sizes(config) | {
        "architectures": ["HiLightGemmaForCausalLM"],
        "model_type": "hilight_gemma",
        "hidden_act": config.hidden_act,
        "torch_dtype": dtype,
        "transformers_version": _TRANSFORMERS,
    }


def generation_config() -> dict[str, Any]:
    """The generation_config.json beside it."""
    ids = {"bos_token_id": BOS_ID, "eos_token_id": EOS_ID, "pad_token_id": PAD_ID}
    return {"_from_model_config": True, **ids, "transformers_version": _TRANSFORMERS}


def tokenizer_config() -> dict[str, Any]:
    """The tokenizer_config.json with which transformers reads ``tokenizer.model`` as Gemma's."""
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False, **names}


def video_config(config: HiLightConfig, encoder: Tree) -> dict[str, Any]:
    """The file that the original reads its video tower's sizes from, with a stand-in for the text tower's."""
    projection = encoder.get("visual_projection")
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    text |= {"intermediate_size": 8, "vocab_size": 20}
    return {
        "projection_dim": projection["kernel"].shape[1] if projection else config.token_mining.width_frames,
        "vision_config": clip_vision_sizes(config.vision),
        "text_config": text,
    }


def _video_tower(vision: Tree, encoder: Tree) -> dict[str, Any]:
    """The video tower, with the projection and the scale of its encoder where they are known; they are not used."""
    beside = {name: encoder[name] for name in ("visual_projection", "logit_scale") if name in encoder}
    named = clip_names.to_official({"vision": vision, **beside})
    # A buffer that old versions of transformers stored.
    named["vision_model.embeddings.position_ids"] = np.arange(len(vision["embeddings"]["position_embedding"]))[None]
    return {f"{_CLIP_PREFIX}{name}": x for name, x in named.items()}


def _frame_tower(config: HiLightConfig, frames: Tree, rest: Tree) -> dict[str, Any]:
    """A whole Long-CLIP; its loader needs a text tower: of any size, so where it is unknown, a tiny one of zeros."""
    if rest:
        return long_clip_names.to_official({"frames": frames, **rest})
    named = long_clip_names.to_official({"frames": frames})
    dtype = next(iter(named.values())).dtype
    shapes = _smallest_text_tower(config.frames.embed_dim)
    return {**named, **{name: np.zeros(shape, dtype) for name, shape in shapes.items()}}


def _smallest_text_tower(embed_dim: int) -> Mapping[str, tuple[int, ...]]:
    width, layer = _HEAD_WIDTH, "transformer.resblocks.0"
    norms = {f"{layer}.ln_1": width, f"{layer}.ln_2": width, "ln_final": width}
    linears = {
        f"{layer}.attn.out_proj": (width, width),
        f"{layer}.mlp.c_fc": (4 * width, width),
        f"{layer}.mlp.c_proj": (width, 4 * width),
    }
    return {
        "positional_embedding": (248, width),
        "positional_embedding_res": (248, width),
        "text_projection": (width, embed_dim),
        "logit_scale": (),
        "token_embedding.weight": (1, width),
        f"{layer}.attn.in_proj_weight": (3 * width, width),
        f"{layer}.attn.in_proj_bias": (3 * width,),
        **{f"{name}.{kind}": (size,) for name, size in norms.items() for kind in ("weight", "bias")},
        **{f"{name}.weight": shape for name, shape in linears.items()},
        **{f"{name}.bias": shape[:1] for name, shape in linears.items()},
    }


def _limits(model: ExportedChat) -> list[str]:
    config = model.config
    limits = [
        "The original's loader rounds Long-CLIP's weights through float16, which moves features by about 1e-3.",
        "The original casts embeddings to float16 and does not mask padding when it generates.",
    ]
    widths = (config.vision.width, config.token_mining.width_frames, config.gemma.width)
    if widths != _WIDTHS:
        limits.append(f"The original's code has the widths {_WIDTHS} written into it; this model's are {widths}.")
    if "long_clip" not in model.extra:
        limits.append("The text tower in longclip-B.pt is a stand-in of zeros: its run is gone, and it is not used.")
    return limits
