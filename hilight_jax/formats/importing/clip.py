"""Imports CLIP, OpenAI's and Hugging Face's, CLIP-ViP and Long-CLIP; sizes are read off the arrays."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from hilight_jax.core.errors import CheckpointError, ConfigError
from hilight_jax.core.lazy import LazyArray, lazy
from hilight_jax.core.trees import Tree, flatten, unflatten
from hilight_jax.formats import clip_names, long_clip_names
from hilight_jax.formats.checkpoint_files import Foreign
from hilight_jax.formats.importing.imported_model import Imported, count_layers, fields, renamed, set_aside, shape_of
from hilight_jax.models import long_clip as long_clip_model
from hilight_jax.models import video_text
from hilight_jax.models.clip import TextConfig
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.local_heads import LocalHeadsConfig
from hilight_jax.models.long_clip import FrameConfig, LongClipConfig, LongTextConfig
from hilight_jax.models.video_text import DualEncoderConfig

# CLIP's heads are 64 wide in every published size.
_HEAD_WIDTH = 64
_NO_LOCAL_HEADS = LocalHeadsConfig(levels=())
Weights = Mapping[str, LazyArray]


class _Names(NamedTuple):
    """The arrays that a tower's sizes are read from; norm and MLP are named below ``layers`` and a number."""

    embedding: str
    positions: str
    layers: str
    norm: str = "layer_norm1.weight"
    mlp: str = "mlp.fc1.weight"


_EMBEDDINGS, _TEXT = "vision_model.embeddings.", "text_model.embeddings."
_VISION_NAMES = _Names(
    _EMBEDDINGS + "patch_embedding.weight", _EMBEDDINGS + "position_embedding.weight", "vision_model.encoder.layers."
)
_TEXT_NAMES = _Names(
    _TEXT + "token_embedding.weight", _TEXT + "position_embedding.weight", "text_model.encoder.layers."
)
_OPENAI = ("ln_1.weight", "mlp.c_fc.weight")
_OPENAI_VISION_NAMES = _Names(
    "visual.conv1.weight", "visual.positional_embedding", "visual.transformer.resblocks.", *_OPENAI
)
_OPENAI_TEXT_NAMES = _Names("token_embedding.weight", "positional_embedding", "transformer.resblocks.", *_OPENAI)


def import_clip_vip(foreign: Foreign) -> Imported:
    """CLIP-ViP, pretrained or fine-tuned, with both towers; also CLIP as Hugging Face keeps it, which has no time."""
    weights, left = set_aside(renamed(foreign.weights, clip_names.bare_name))
    vision = vision_config(weights, foreign.config)
    if not any(name.startswith("text_model.") for name in weights):
        raise CheckpointError(
            "it holds a video tower without a text tower, which is no encoder yet; give it as --vision when a HiLight "
            "is converted, or convert the whole CLIP-ViP."
        )
    text = TextConfig(**_text_sizes(weights, foreign.config, _TEXT_NAMES))
    embed_dim = shape_of(weights, "visual_projection.weight", 2)[0]
    config = DualEncoderConfig(vision=vision, text=text, embed_dim=embed_dim, local=_NO_LOCAL_HEADS)
    params = clip_names.from_official(weights, video_text.param_shapes(config))
    kind = "CLIP-ViP" if vision.temporal_embedding else "CLIP, in Hugging Face's names"
    return Imported(kind, "encoder", config, params, len(weights), left, {"weights": foreign})


def import_openai_clip(foreign: Foreign) -> Imported:
    """CLIP in OpenAI's names, as an encoder of clips that are single frames."""
    weights, left, config = _openai(foreign)
    positions = weights["positional_embedding"]
    tree = long_clip_names.from_official(
        {**weights, "positional_embedding_res": positions}, long_clip_model.param_shapes(config)
    )
    frames, text = dataclasses.asdict(config.frames), config.text
    embed_dim = frames.pop("embed_dim")
    encoder = DualEncoderConfig(
        vision=VisionConfig(**frames, num_proxy_tokens=1, temporal_embedding=False),
        text=TextConfig(**{field.name: getattr(text, field.name) for field in dataclasses.fields(TextConfig)}),
        embed_dim=embed_dim,
        local=_NO_LOCAL_HEADS,
    )
    params, opened = _renamed(tree, _AS_ENCODER), {"weights": foreign}
    return Imported(
        "CLIP, in OpenAI's names", "encoder", encoder, params, len(weights), left, opened, _assumed(foreign)
    )


def import_long_clip(foreign: Foreign, fp16_rounded: bool = False) -> Imported:
    """Long-CLIP, both towers; ``fp16_rounded`` as in ``long_clip_names``."""
    weights, left, config = _openai(foreign)
    params = long_clip_names.from_official(weights, long_clip_model.param_shapes(config), fp16_rounded)
    opened = {"weights": foreign}
    return Imported("Long-CLIP", "long_clip", config, params, len(weights), left, opened, _assumed(foreign))


def stretch_clip(foreign: Foreign, imported: Imported) -> Imported:
    """An imported CLIP as the beginning of Long-CLIP's training: its 77 positions stretched to 248, in both tables.

    Raises:
      CheckpointError: It is CLIP-ViP, whose towers differ from CLIP's, or has other positions.
    """
    model = imported.model
    if model.vision.temporal_embedding or model.vision.num_proxy_tokens > 1:
        raise CheckpointError(f"'{foreign.path}' is {imported.kind}, but only CLIP itself can be stretched.")
    table = imported.params["text"]["position_embedding"]
    length = long_clip_names.KEPT_POSITIONS + 4 * (table.shape[0] - long_clip_names.KEPT_POSITIONS)
    stretched = table.map(long_clip_names.stretch_positions, (length, table.shape[1]))
    sizes = {field.name: getattr(model.vision, field.name, None) for field in dataclasses.fields(FrameConfig)}
    text = dataclasses.asdict(model.text) | {"max_length": length}
    config = LongClipConfig(
        FrameConfig(**sizes | {"embed_dim": model.embed_dim}), LongTextConfig(**text, embed_dim=model.embed_dim)
    )
    flat = flatten(_renamed(imported.params, {ours: theirs for theirs, ours in _AS_ENCODER.items()}))
    flat |= {"text/position_embedding": stretched, "text/position_embedding_res": stretched}
    choice = f"its {table.shape[0]} positions were stretched to {length}, in both tables"
    return dataclasses.replace(
        imported,
        kind=f"{imported.kind}, stretched to Long-CLIP",
        stage="long_clip",
        model=config,
        params=unflatten(flat),
        choices=(*imported.choices, choice),
    )


def vision_config(weights: Weights, config: Mapping[str, Any]) -> VisionConfig:
    """The sizes of a video tower in CLIP-ViP's (or Hugging Face's CLIP's) bare names."""
    time, proxies = f"{_EMBEDDINGS}temporal_embedding", f"{_EMBEDDINGS}added_cls"
    has_time = time in weights
    return VisionConfig(
        **_vision_sizes(weights, fields(config, "vision_config") or _own(config), _VISION_NAMES),
        num_frames=shape_of(weights, time, 3)[1] if has_time else VisionConfig.num_frames,
        num_proxy_tokens=1 + (shape_of(weights, proxies, 2)[0] if proxies in weights else 0),
        temporal_embedding=has_time,
    )


def frame_config(weights: Weights, config: Mapping[str, Any]) -> FrameConfig:
    """The sizes of an image tower in OpenAI's names."""
    sizes = _vision_sizes(weights, fields(config, "vision_config"), _OPENAI_VISION_NAMES)
    return FrameConfig(**sizes, embed_dim=shape_of(weights, "visual.proj", 2)[1])


def _openai(foreign: Foreign) -> tuple[dict[str, LazyArray], dict[str, str], LongClipConfig]:
    """Arrays in OpenAI's names, the arrays that were set aside, and the sizes of both towers."""
    weights, left = set_aside(renamed(foreign.weights, lambda name: name.removeprefix("module.")))
    frames, sizes = frame_config(weights, foreign.config), _text_sizes(weights, foreign.config, _OPENAI_TEXT_NAMES)
    text = LongTextConfig(**sizes, embed_dim=shape_of(weights, "text_projection", 2)[1])
    return weights, left, LongClipConfig(frames, text)


def _vision_sizes(weights: Weights, config: Mapping[str, Any], names: _Names) -> dict[str, int]:
    width, _, patch, _ = shape_of(weights, names.embedding, 4)
    side = _side(shape_of(weights, names.positions, 2)[0], patch)
    return {"image_size": side, "patch_size": patch} | _layer_sizes(weights, config, "vision_config", names, width)


def _text_sizes(weights: Weights, config: Mapping[str, Any], names: _Names) -> dict[str, int]:
    vocab_size, width = shape_of(weights, names.embedding, 2)
    sizes = {"vocab_size": vocab_size, "max_length": shape_of(weights, names.positions, 2)[0]}
    return sizes | _layer_sizes(weights, fields(config, "text_config"), "text_config", names, width)


def _layer_sizes(weights: Weights, config: Mapping[str, Any], where: str, names: _Names, width: int) -> dict[str, int]:
    _check_act(config, where)
    return {
        "width": width,
        "depth": count_layers(weights, rf"{re.escape(names.layers)}(\d+)\.{re.escape(names.norm)}"),
        "num_heads": _heads(width, config),
        "mlp_dim": shape_of(weights, f"{names.layers}0.{names.mlp}", 2)[0],
    }


# Paths in LongClip's tree, and in the dual encoder's.
_AS_ENCODER = {
    "frames/projection": "visual_projection",
    "text/projection": "text_projection",
    "frames": "vision",
}


def _renamed(tree: Tree, prefixes: Mapping[str, str]) -> dict[str, Any]:
    """A tree with other prefixes of its paths; the second position table, which CLIP has not, is dropped."""
    flat = {}
    for path, leaf in flatten(tree).items():
        if path == "text/position_embedding_res":
            continue
        old = next((old for old in prefixes if path == old or path.startswith(f"{old}/")), None)
        flat[path if old is None else prefixes[old] + path.removeprefix(old)] = lazy(leaf)
    return unflatten(flat)


def _side(positions: int, patch: int) -> int:
    """Pixels of the side of a square frame with so many positions, the cls token's among them."""
    rows = math.isqrt(max(positions - 1, 0))
    if not rows or rows * rows != positions - 1:
        raise CheckpointError(f"the position table has {positions} rows, but must have one more than a square number.")
    return rows * patch


def _heads(width: int, config: Mapping[str, Any]) -> int:
    """The number of heads of the configuration, else heads of 64 channels.

    Raises:
      CheckpointError: There is no configuration and the width is not cut so, or it names no number.
    """
    if (heads := config.get("num_attention_heads")) is not None:
        if type(heads) is not int or heads < 1 or width % heads:
            raise CheckpointError(
                f"config.json has num_attention_heads={heads!r}, but a tower {width} wide needs a number that divides "
                f"it; take the config.json that came with the weights."
            )
        return heads
    if width % _HEAD_WIDTH:
        raise CheckpointError(
            f"a tower is {width} wide, which is no multiple of {_HEAD_WIDTH}, and no config.json beside the weights "
            f"gives its number of heads; add one by --model_config."
        )
    return width // _HEAD_WIDTH


def _assumed(foreign: Foreign) -> tuple[str, ...]:
    """The assumptions about arrays without a configuration, which may be of others' CLIPs."""
    assumed = "its heads are 64 wide and its activation is quick_gelu, as OpenAI's, since there is no config.json"
    return () if foreign.config else (assumed,)


def _own(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration that is a tower's own, and not that of a language model in the same directory."""
    return config if str(config.get("model_type", "clip")).startswith("clip") else {}


def _check_act(config: Mapping[str, Any], where: str) -> None:
    """Refuses a CLIP with another activation or norm than the published ones.

    Raises:
      ConfigError: Which.
    """
    if (act := config.get("hidden_act", "quick_gelu")) != "quick_gelu":
        raise ConfigError(f"{where}.hidden_act is '{act}', but these towers have 'quick_gelu', as OpenAI's CLIP.")
    epsilon = config.get("layer_norm_eps", 1e-5)
    if type(epsilon) is not float or not math.isclose(epsilon, 1e-5):
        raise ConfigError(f"{where}.layer_norm_eps is {epsilon!r}, but these towers have 1e-5.")
