"""CLIP and what grew from it: OpenAI's and Hugging Face's CLIP, CLIP-ViP, Long-CLIP. Sizes are read from the arrays."""

import math
from collections.abc import Mapping
from typing import Any

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


def import_clip_vip(foreign: Foreign) -> Imported:
    """CLIP-ViP, pretrained or fine-tuned, with both towers; also CLIP as Hugging Face keeps it, which has no time."""
    weights, left = set_aside(renamed(foreign.weights, clip_names.bare_name))
    vision, text = vision_config(weights, foreign.config), _text_config(weights, foreign.config)
    embed_dim = shape_of(weights, "visual_projection.weight", 2)[0]
    config = DualEncoderConfig(vision=vision, text=text, embed_dim=embed_dim, local=_NO_LOCAL_HEADS)
    params = clip_names.from_official(weights, video_text.param_shapes(config))
    kind = "CLIP-ViP" if vision.temporal_embedding else "CLIP, in Hugging Face's names"
    return Imported(kind, "encoder", config, params, len(weights), left, {"weights": foreign})


def import_openai_clip(foreign: Foreign) -> Imported:
    """CLIP in OpenAI's names, as an encoder of clips that are single frames."""
    weights, left, sizes = _openai(foreign)
    tree = long_clip_names.from_official(
        {**weights, "positional_embedding_res": weights["positional_embedding"]}, sizes[1]
    )
    frames, text = sizes[0].frames, sizes[0].text
    config = DualEncoderConfig(
        vision=VisionConfig(
            image_size=frames.image_size,
            patch_size=frames.patch_size,
            width=frames.width,
            depth=frames.depth,
            num_heads=frames.num_heads,
            mlp_dim=frames.mlp_dim,
            num_proxy_tokens=1,
            temporal_embedding=False,
        ),
        text=TextConfig(text.vocab_size, text.max_length, text.width, text.depth, text.num_heads, text.mlp_dim),
        embed_dim=frames.embed_dim,
        local=_NO_LOCAL_HEADS,
    )
    params, opened = _renamed(tree, _AS_ENCODER), {"weights": foreign}
    return Imported("CLIP, in OpenAI's names", "encoder", config, params, len(weights), left, opened, _taken(foreign))


def import_long_clip(foreign: Foreign, fp16_rounded: bool = False) -> Imported:
    """Long-CLIP, both towers; ``fp16_rounded`` as in ``checkpoints.long_clip``."""
    weights, left, (config, template) = _openai(foreign)
    params = long_clip_names.from_official(weights, template, fp16_rounded)
    opened = {"weights": foreign}
    return Imported("Long-CLIP", "long_clip", config, params, len(weights), left, opened, _taken(foreign))


def stretch_clip(foreign: Foreign, imported: Imported) -> Imported:
    """An imported CLIP as the beginning of Long-CLIP's training: its 77 positions stretched to 248, in both tables.

    Raises:
      CheckpointError: It is CLIP-ViP, whose towers have grown apart from CLIP's, or has other positions.
    """
    vision, text = imported.model.vision, imported.model.text
    if vision.temporal_embedding or vision.num_proxy_tokens > 1:
        raise CheckpointError(f"'{foreign.path}' is {imported.kind}, but only CLIP itself can be stretched.")
    table = imported.params["text"]["position_embedding"]
    length = long_clip_names.KEPT_POSITIONS + 4 * (table.shape[0] - long_clip_names.KEPT_POSITIONS)
    stretched = table.map(long_clip_names.stretch_positions, (length, table.shape[1]))
    frames = FrameConfig(
        vision.image_size,
        vision.patch_size,
        vision.width,
        vision.depth,
        vision.num_heads,
        vision.mlp_dim,
        imported.model.embed_dim,
    )
    sizes = (text.vocab_size, length, text.width, text.depth, text.num_heads, text.mlp_dim)
    config = LongClipConfig(frames, LongTextConfig(*sizes, embed_dim=imported.model.embed_dim))
    flat = flatten(_renamed(imported.params, {ours: theirs for theirs, ours in _AS_ENCODER.items()}))
    flat |= {"text/position_embedding": stretched, "text/position_embedding_res": stretched}
    choices = (
        *imported.choices,
        f"its {table.shape[0]} positions were stretched to {length}, in both tables",
    )
    kind = f"{imported.kind}, stretched to Long-CLIP"
    return Imported(
        kind, "long_clip", config, unflatten(flat), imported.used, imported.left_over, imported.opened, choices
    )


def vision_config(weights: Weights, config: Mapping[str, Any]) -> VisionConfig:
    """The sizes of a video tower in CLIP-ViP's (or Hugging Face's CLIP's) bare names."""
    prefix = "vision_model.embeddings."
    width, _, patch, _ = shape_of(weights, f"{prefix}patch_embedding.weight", 4)
    positions = shape_of(weights, f"{prefix}position_embedding.weight", 2)[0]
    time, proxies = f"{prefix}temporal_embedding", f"{prefix}added_cls"
    has_time = time in weights
    theirs = fields(config, "vision_config") or _own(config)
    _check_act(theirs, "vision_config")
    return VisionConfig(
        image_size=_side(positions, patch),
        patch_size=patch,
        width=width,
        depth=count_layers(weights, r"vision_model\.encoder\.layers\.(\d+)\.layer_norm1\.weight"),
        num_heads=_heads(width, theirs),
        mlp_dim=shape_of(weights, "vision_model.encoder.layers.0.mlp.fc1.weight", 2)[0],
        num_frames=shape_of(weights, time, 3)[1] if has_time else VisionConfig.num_frames,
        num_proxy_tokens=1 + (shape_of(weights, proxies, 2)[0] if proxies in weights else 0),
        temporal_embedding=has_time,
    )


def _text_config(weights: Weights, config: Mapping[str, Any]) -> TextConfig:
    if not any(name.startswith("text_model.") for name in weights):
        raise CheckpointError(
            "it holds a video tower without a text tower, which is no encoder yet; give it as --vision when a HiLight "
            "is converted, or convert the whole CLIP-ViP."
        )
    vocab_size, width = shape_of(weights, "text_model.embeddings.token_embedding.weight", 2)
    theirs = fields(config, "text_config")
    _check_act(theirs, "text_config")
    return TextConfig(
        vocab_size=vocab_size,
        max_length=shape_of(weights, "text_model.embeddings.position_embedding.weight", 2)[0],
        width=width,
        depth=count_layers(weights, r"text_model\.encoder\.layers\.(\d+)\.layer_norm1\.weight"),
        num_heads=_heads(width, theirs),
        mlp_dim=shape_of(weights, "text_model.encoder.layers.0.mlp.fc1.weight", 2)[0],
    )


def _openai(foreign: Foreign) -> tuple[dict[str, LazyArray], dict[str, str], tuple[LongClipConfig, Tree]]:
    """Arrays in OpenAI's names, what was left, and the sizes and shapes of both towers."""
    weights, left = set_aside(renamed(foreign.weights, lambda name: name.removeprefix("module.")))
    config = LongClipConfig(frame_config(weights, foreign.config), _long_text_config(weights, foreign.config))
    return weights, left, (config, long_clip_model.param_shapes(config))


def frame_config(weights: Weights, config: Mapping[str, Any]) -> FrameConfig:
    """The sizes of an image tower in OpenAI's names."""
    width, _, patch, _ = shape_of(weights, "visual.conv1.weight", 4)
    theirs = fields(config, "vision_config")
    _check_act(theirs, "vision_config")
    return FrameConfig(
        image_size=_side(shape_of(weights, "visual.positional_embedding", 2)[0], patch),
        patch_size=patch,
        width=width,
        depth=count_layers(weights, r"visual\.transformer\.resblocks\.(\d+)\.ln_1\.weight"),
        num_heads=_heads(width, theirs),
        mlp_dim=shape_of(weights, "visual.transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        embed_dim=shape_of(weights, "visual.proj", 2)[1],
    )


def _long_text_config(weights: Weights, config: Mapping[str, Any]) -> LongTextConfig:
    vocab_size, width = shape_of(weights, "token_embedding.weight", 2)
    theirs = fields(config, "text_config")
    _check_act(theirs, "text_config")
    return LongTextConfig(
        vocab_size=vocab_size,
        max_length=shape_of(weights, "positional_embedding", 2)[0],
        width=width,
        depth=count_layers(weights, r"transformer\.resblocks\.(\d+)\.ln_1\.weight"),
        num_heads=_heads(width, theirs),
        mlp_dim=shape_of(weights, "transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        embed_dim=shape_of(weights, "text_projection", 2)[1],
    )


# Where LongClip's tree keeps what the dual encoder's keeps elsewhere.
_AS_ENCODER = {
    "frames/projection": "visual_projection",
    "text/projection": "text_projection",
    "frames": "vision",
}


def _renamed(tree: Tree, prefixes: Mapping[str, str]) -> dict[str, Any]:
    """A tree with beginnings of its paths changed; the second position table, which CLIP has not, is dropped."""
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
    """What the configuration says, else heads of 64 channels.

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
            f"says how many heads it has; give one by --model_config."
        )
    return width // _HEAD_WIDTH


def _taken(foreign: Foreign) -> tuple[str, ...]:
    """What is taken for granted where nothing says it: arrays in OpenAI's names may be of others' CLIPs."""
    said = "its heads are 64 wide and its activation is quick_gelu, as OpenAI's, since no config.json says otherwise"
    return () if foreign.config else (said,)


def _own(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration that is a tower's from the top on, not that of a language model whose directory it shares."""
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
