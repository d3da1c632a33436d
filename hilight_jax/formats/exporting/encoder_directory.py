"""The video encoder by itself, in two forms beside each other.

```
original/clip_vip.pt, config.json     CLIP-ViP's own names (prefix ``clipmodel.``), without the local heads
huggingface/                          transformers 5: AutoModel and AutoProcessor with trust_remote_code
```

An encoder whose embeddings hold pooled local features has no original form.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.config import to_dict
from hilight_jax.formats import clip_names
from hilight_jax.formats.exporting.clip_tokenizer_json import write_clip_tokenizer
from hilight_jax.formats.exporting.exported_model import ExportedEncoder
from hilight_jax.formats.exporting.huggingface_configs import clip_vision_sizes
from hilight_jax.formats.huggingface_names import ENCODER_TABLE
from hilight_jax.formats.mapping import export_weights
from hilight_jax.formats.safetensors_files import write_shards
from hilight_jax.formats.torch_files import write_torch_file
from hilight_jax.models.video_text import DualEncoderConfig

ORIGINAL, HUGGINGFACE = "original", "huggingface"
_REMOTE_CODE = Path(__file__).parent / "remote_code"
_REMOTE_FILES = (
    "configuration_clip_vip.py",
    "modeling_clip_vip.py",
    "processing_clip_vip.py",
    "clip_vip_tower.py",
    "local_heads.py",
    "video_frames.py",
)


def write_encoder(model: ExportedEncoder, directory: Path) -> list[str]:
    """Writes both forms into an existing directory.

    Returns:
      Sentences about parts that a form leaves out.

    Raises:
      CheckpointError: A parameter has no name there.
    """
    if not model.config.pool_local:
        (directory / ORIGINAL).mkdir()
        write_torch_file(directory / ORIGINAL / "clip_vip.pt", original_weights(model))
        write_object(directory / ORIGINAL / "config.json", original_config(model.config))
    place = directory / HUGGINGFACE
    place.mkdir()
    named = export_weights(ENCODER_TABLE, model.params)
    dtype = np.dtype(next(iter(named.values())).dtype).name
    write_shards(place, named)
    write_object(place / "config.json", huggingface_config(model.config, model.similarity, dtype))
    write_object(place / "processor_config.json", processor_config(model))
    write_clip_tokenizer(place, model.data.text_length)
    for file in _REMOTE_FILES:
        shutil.copyfile(_REMOTE_CODE / file, place / file)
    if model.config.pool_local:
        return ["There is no `original/`: CLIP-ViP has no place for the local features in this encoder's embeddings."]
    if "local" in model.params:
        return ["`original/` leaves the local heads out: CLIP-ViP has none. `huggingface/` has them."]
    return []


def original_weights(model: ExportedEncoder) -> dict[str, Any]:
    """All arrays of CLIP-ViP's strict loading, with the positions 0, 1, 2, ... that its towers store."""
    named = clip_names.to_official({name: tree for name, tree in model.params.items() if name != "local"})
    for tower in ("vision_model", "text_model"):
        count = named[f"{tower}.embeddings.position_embedding.weight"].shape[0]
        named[f"{tower}.embeddings.position_ids"] = np.arange(count)[None]
    if model.config.vision.num_proxy_tokens == 1:
        named["vision_model.embeddings.added_cls"] = np.zeros((0, model.config.vision.width), np.float32)
    return {f"clipmodel.{name}": x for name, x in named.items()}


def original_config(config: DualEncoderConfig) -> dict[str, Any]:
    """Sizes in the words of Hugging Face's CLIP, which CLIP-ViP reads."""
    vision, text = config.vision, config.text
    return {
        "model_type": "clip",
        "projection_dim": config.embed_dim,
        "vision_config": clip_vision_sizes(vision),
        "text_config": {
            "vocab_size": text.vocab_size,
            "max_position_embeddings": text.max_length,
            "hidden_size": text.width,
            "intermediate_size": text.mlp_dim,
            "num_hidden_layers": text.depth,
            "num_attention_heads": text.num_heads,
            "hidden_act": "quick_gelu",
        },
        "vision_additional_config": {
            "type": "ViP",
            "temporal_size": vision.num_frames,
            "if_use_temporal_embed": int(vision.temporal_embedding),
            "logit_scale_init_value": config.logit_scale_init,
            "add_cls_num": vision.num_proxy_tokens - 1,
        },
    }


def huggingface_config(config: DualEncoderConfig, similarity: str, dtype: str) -> dict[str, Any]:
    """The config.json that ``remote_code/configuration_clip_vip.py`` reads."""
    local = config.local
    return {
        "architectures": ["ClipVipModel"],
        "model_type": "clip_vip_plus",
        "auto_map": {
            "AutoConfig": "configuration_clip_vip.ClipVipConfig",
            "AutoModel": "modeling_clip_vip.ClipVipModel",
        },
        "video_config": to_dict(config.vision),
        "text_config": to_dict(config.text),
        "embed_dim": config.embed_dim,
        "level_pairs": to_dict(config.level_pairs),
        "level_weights": list(config.map_weights),
        "local_head": local.head,
        "local_text_side": local.text_side,
        "center_video": local.center_video,
        "pool_local": config.pool_local,
        "similarity": similarity,
        "dtype": dtype,
    }


def processor_config(model: ExportedEncoder) -> dict[str, Any]:
    """The processor_config.json that ``remote_code/processing_clip_vip.py`` reads."""
    data = model.data
    return {
        "processor_class": "ClipVipProcessor",
        "auto_map": {"AutoProcessor": "processing_clip_vip.ClipVipProcessor"},
        "num_frames": data.num_frames,
        "image_size": data.image_size,
        "text_length": data.text_length,
    }
