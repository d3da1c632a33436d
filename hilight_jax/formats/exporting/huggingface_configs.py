"""The ``config.json`` of every exported model in transformers' words, and the configurations of its processors."""

from typing import Any

from hilight_jax.core.config import to_dict
from hilight_jax.core.shapes import CLIP_MEAN, CLIP_STD
from hilight_jax.core.trees import Tree, flatten
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.gemma_tokenizer import BOS_ID, EOS_ID, PAD_ID
from hilight_jax.data.conversations.words import Things
from hilight_jax.formats.exporting.words_json import WORDS
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.gemma_config import GemmaConfig
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.layers import LAYER_NORM_EPSILON
from hilight_jax.models.long_clip import FrameConfig
from hilight_jax.models.word_tracks import WordTracksConfig

# CLIP's tokenizer: the ids that begin and end a text.
_CLIP_START, _CLIP_END = 49406, 49407
# PIL's number of the filter.
_BICUBIC = 3


def hilight_config(
    config: HiLightConfig, dtype: str, quantized: bool = False, things: Things | None = None
) -> dict[str, Any]:
    """The config.json of the whole chat model, see ``remote_code/configuration_hilight.py``.

    ``things`` are those of a model with word tracks.
    """
    mining, tracks = config.token_mining, config.word_tracks
    words = {} if tracks is None or things is None else {"word_config": _word_config(config, tracks, things)}
    return {
        "architectures": ["HiLightForCausalLM"],
        "model_type": "hilight_video",
        "auto_map": {
            "AutoConfig": "configuration_hilight.HiLightConfig",
            "AutoModelForCausalLM": "modeling_hilight.HiLightForCausalLM",
        },
        "text_config": {**gemma_config(config.gemma, dtype), "architectures": None},
        "video_config": to_dict(config.vision),
        "frame_config": None if config.frames is None else _frame_tower(config.frames),
        "frame_width": mining.width_frames,
        "mining_config": {
            "structure": mining.structure,
            "tokens_per_frame": mining.tokens_per_frame,
            "expansion": mining.expansion,
            "final_relu": mining.ends_in_relu,
            "final_norm": mining.final_norm,
            "positions": mining.positions,
            "num_heads": mining.num_heads,
            "residual": mining.residual,
        },
        **words,
        "video_token_id": config.gemma.vocab_size,
        "weight_quantization": "int8_per_channel" if quantized else None,
        "tie_word_embeddings": True,
        "dtype": dtype,
    }


def gemma_config(config: GemmaConfig, dtype: str) -> dict[str, Any]:
    """The config.json of a ``GemmaForCausalLM``.

    transformers 5 treats ``gelu`` as a mistake and computes the approximation by tanh. Where a model computes the exact
    function, as HiLight's does, it is written by its other name.
    """
    act = {"gelu": "gelu_python"}.get(config.hidden_act, config.hidden_act)
    return gemma_sizes(config) | {
        "architectures": ["GemmaForCausalLM"],
        "model_type": "gemma",
        "hidden_act": act,
        "hidden_activation": act,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "tie_word_embeddings": True,
        "dtype": dtype,
    }


def gemma_sizes(config: GemmaConfig) -> dict[str, Any]:
    """The values of a Gemma's config.json that all versions of transformers and the original share."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp_dim,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_base,
        "max_position_embeddings": 8192,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "pad_token_id": PAD_ID,
        "eos_token_id": EOS_ID,
        "bos_token_id": BOS_ID,
        "use_cache": True,
    }


def clip_vision_config(config: FrameConfig, dtype: str) -> dict[str, Any]:
    """The config.json of a ``CLIPVisionModelWithProjection``: Long-CLIP's image tower alone."""
    return {
        "architectures": ["CLIPVisionModelWithProjection"],
        "model_type": "clip_vision_model",
        **_clip_vision(config),
        "dtype": dtype,
    }


def clip_config(config: FrameConfig, whole: Tree, dtype: str) -> dict[str, Any]:
    """The config.json of a ``CLIPModel``: the whole of Long-CLIP.

    The text tower's sizes are read off the arrays of ``whole["text"]``. Its heads are as wide as the image tower's, as
    in CLIP and in every preset.
    """
    text = flatten(whole["text"])
    vocabulary, width = text["token_embedding"].shape
    depth, _, mlp_dim = text["encoder/layers/mlp/fc1/kernel"].shape
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": config.embed_dim,
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": vocabulary,
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": width * config.num_heads // config.width,
            "intermediate_size": mlp_dim,
            "max_position_embeddings": len(text["position_embedding_res"]),
            "projection_dim": config.embed_dim,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": LAYER_NORM_EPSILON,
            "bos_token_id": _CLIP_START,
            "eos_token_id": _CLIP_END,
        },
        "vision_config": {"model_type": "clip_vision_model", **_clip_vision(config)},
        "dtype": dtype,
    }


def clip_image_config(config: FrameConfig) -> dict[str, Any]:
    """The configuration of a ``CLIPImageProcessor``: images are squeezed to a square, as in training."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": config.image_size, "width": config.image_size},
        "resample": _BICUBIC,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
    }


def processor_config(data: ConversationDataConfig) -> dict[str, Any]:
    """The configuration of ``remote_code/processing_hilight.py``."""
    words = {} if data.things is None else {"word_file": WORDS}
    return words | {
        "auto_map": {"AutoProcessor": "processing_hilight.HiLightProcessor"},
        "processor_class": "HiLightProcessor",
        "num_frames": data.num_frames,
        "image_size": data.image_size,
        "num_video_rows": data.num_video_tokens,
        "key_frame_rule": data.key_frames.rule,
        "num_key_frames": data.key_frames.count,
        "key_frame_indices": list(data.key_frames.indices),
    }


def clip_vision_sizes(config: VisionConfig | FrameConfig) -> dict[str, Any]:
    """The ``vision_config`` of a CLIP that all versions of transformers and CLIP-ViP's code share."""
    return {
        "hidden_size": config.width,
        "intermediate_size": config.mlp_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "hidden_act": "quick_gelu",
    }


def _word_config(config: HiLightConfig, tracks: WordTracksConfig, things: Things) -> dict[str, Any]:
    """The encoder's text tower and local heads, the tracks' sizes, and the listed things."""
    local = config.local
    assert local is not None
    return {
        "text_config": to_dict(config.text),
        "level_pairs": to_dict(config.level_pairs),
        "level_weights": list(config.map_weights),
        "local_head": local.head,
        "local_text_side": local.text_side,
        "center_video": local.center_video,
        **to_dict(tracks),
        "thing_ids": things.ids.tolist(),
        "thing_phrase_ids": things.phrase_ids.tolist(),
        "thing_content": things.content.tolist(),
    }


def _frame_tower(config: FrameConfig) -> dict[str, Any]:
    """CLIP's image tower as a video tower: a frame is a clip of one, its cls token the only proxy."""
    sizes = {name: value for name, value in to_dict(config).items() if name != "embed_dim"}
    return sizes | {"num_frames": 1, "num_proxy_tokens": 1, "temporal_embedding": False}


def _clip_vision(config: FrameConfig) -> dict[str, Any]:
    more = {"projection_dim": config.embed_dim, "num_channels": 3, "layer_norm_eps": LAYER_NORM_EPSILON}
    return clip_vision_sizes(config) | more
