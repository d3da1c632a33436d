r"""A chat model as a directory that Hugging Face's transformers 5 loads, on torch and without this package.

```
config.json, generation_config.json, processor_config.json
*.py                               the model, its configuration and its processor (``remote_code/``)
tokenizer*, chat_template.jinja
words.json                         with word tracks: the data that phrases are found with
model.safetensors.index.json       names of all weights, wherever they lie
video.safetensors                  CLIP-ViP and token mining
words.safetensors                  with word tracks: the encoder's text tower and local heads, and the tracks' MLPs
gemma/                             the language model, by itself a GemmaForCausalLM
long_clip/                         Long-CLIP, by itself a CLIPModel (or its image tower alone)
```

No weight is stored twice: the index on top points into the stock directories. With the language model in 8 bits its
weights lie beside the towers' instead, in ``language.safetensors``. Nothing here needs torch.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import write_object
from hilight_jax.data.conversations.gemma_tokenizer import BOS_ID, PAD_ID, GemmaTokenizer
from hilight_jax.data.conversations.words import encode_things
from hilight_jax.formats.exporting.clip_tokenizer_json import write_clip_tokenizer
from hilight_jax.formats.exporting.exported_model import ExportedChat
from hilight_jax.formats.exporting.gemma_tokenizer_json import write_tokenizer
from hilight_jax.formats.exporting.huggingface_configs import (
    clip_config,
    clip_image_config,
    clip_vision_config,
    gemma_config,
    hilight_config,
    processor_config,
)
from hilight_jax.formats.exporting.quantize import Quantized
from hilight_jax.formats.exporting.words_json import copy_code, write_words
from hilight_jax.formats.huggingface_names import chat_to_huggingface, long_clip_text_to_huggingface
from hilight_jax.formats.safetensors_files import SHARD_BYTES, write_index, write_shards

_REMOTE_CODE = Path(__file__).parent / "remote_code"
REMOTE_FILES = (
    "configuration_hilight.py",
    "modeling_hilight.py",
    "processing_hilight.py",
    "clip_vip_tower.py",
    "token_mining.py",
    "word_tracks.py",
    "local_heads.py",
    "quantized.py",
    "video_frames.py",
)
INDEX = "model.safetensors.index.json"
# The files of the parts that have no stock directory.
_FILES = {"video": ("vision", "visual_projection", "token_mining"), "words": ("text", "local", "word_tracks")}
# The longest answer, unless asked otherwise; as in ``chat``.
_MAX_NEW_TOKENS = 64


def write_huggingface(
    model: ExportedChat, directory: Path, shard_bytes: int = SHARD_BYTES, quantized: Quantized | None = None
) -> None:
    """Writes a chat model into an empty directory.

    LoRA's deltas are merged beforehand, or written beside (``exporting.lora``). ``quantized`` are the parameters with
    the language model in 8 bits, which are then written instead.

    Raises:
      CheckpointError: A parameter has no name in the exported model.
      DataError: The tokenizer cannot be written.
    """
    params = model.params if quantized is None else quantized.params
    weights = {part: chat_to_huggingface({part: tree}) for part, tree in params.items()}
    if quantized is None:
        (directory / "gemma").mkdir()
        places = write_shards(directory / "gemma", weights["gemma"], shard_bytes=shard_bytes)
        places = {name: f"gemma/{file}" for name, file in places.items()}
    else:
        places = _write_files(directory, weights["gemma"], "language", shard_bytes)
    if "frames" in weights:
        places |= _write_long_clip(model, weights["frames"], directory / "long_clip", shard_bytes)
    for file, parts in _FILES.items():
        arrays = {name: x for part in parts for name, x in weights.get(part, {}).items()}
        if arrays:
            places |= _write_files(directory, arrays, file, shard_bytes)
    write_index(directory / INDEX, places, {name: x for part in weights.values() for name, x in part.items()})
    _write_configs(model, directory, str(params["gemma"]["final_norm"]["scale"].dtype), quantized is not None)


def _write_configs(model: ExportedChat, directory: Path, dtype: str, quantized: bool) -> None:
    """Writes configurations, tokenizers and remote code."""
    config, data = model.config, model.data
    tokenizer = GemmaTokenizer(model.tokenizer)
    video = {"<video>": config.gemma.vocab_size}
    template = (_REMOTE_CODE / "chat_template.jinja").read_text(encoding="utf-8")
    write_tokenizer(directory, model.tokenizer, data.max_length, video, template)
    things = None if data.things is None else encode_things(data.things, tokenizer)
    write_object(directory / "config.json", hilight_config(config, dtype, quantized, things))
    write_object(directory / "processor_config.json", processor_config(data))
    for file in REMOTE_FILES:
        shutil.copyfile(_REMOTE_CODE / file, directory / file)
    copy_code(directory)
    if data.things is not None:
        write_words(directory, data.things, tokenizer, config.gemma.vocab_size)
    generation = {
        "bos_token_id": BOS_ID,
        "eos_token_id": list(tokenizer.stop_ids),
        "pad_token_id": PAD_ID,
        "do_sample": False,
        "max_new_tokens": _MAX_NEW_TOKENS,
    }
    write_object(directory / "generation_config.json", generation)
    if not quantized:
        gemma = directory / "gemma"
        write_tokenizer(gemma, model.tokenizer, data.max_length, None, template)
        write_object(gemma / "config.json", gemma_config(config.gemma, dtype))
        write_object(gemma / "generation_config.json", generation)


def _write_long_clip(
    model: ExportedChat, frames: Mapping[str, Any], directory: Path, shard_bytes: int
) -> dict[str, str]:
    """Writes Long-CLIP as a directory of its own; returns the files of its image tower, seen from above."""
    directory.mkdir()
    dtype = str(next(iter(frames.values())).dtype)
    places = _write_files(directory, frames, "vision", shard_bytes)
    whole, weights = model.extra.get("long_clip"), dict(frames)
    if whole is None:
        write_object(directory / "config.json", clip_vision_config(model.config.frames, dtype))
    else:
        text = long_clip_text_to_huggingface(whole)
        places |= _write_files(directory, text, "text", shard_bytes)
        weights |= text
        write_object(directory / "config.json", clip_config(model.config.frames, whole, dtype))
        write_clip_tokenizer(directory, len(whole["text"]["position_embedding_res"]))
    write_object(directory / "preprocessor_config.json", clip_image_config(model.config.frames))
    write_index(directory / INDEX, places, weights)
    return {name: f"{directory.name}/{file}" for name, file in places.items() if name in frames}


def _write_files(directory: Path, weights: Mapping[str, Any], name: str, shard_bytes: int) -> dict[str, str]:
    """``write_shards`` without an index of its own."""
    places = write_shards(directory, weights, name, shard_bytes)
    (directory / f"{name}.safetensors.index.json").unlink(missing_ok=True)
    return places
