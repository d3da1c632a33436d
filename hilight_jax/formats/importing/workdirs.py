"""Writes an imported model as a working directory, which training, evaluation, chat and export read as any run's."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.checkpoints.store import Store
from hilight_jax.checkpoints.streaming import with_progress
from hilight_jax.core import trees
from hilight_jax.core.atomic_files import whole_directory, write_object
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.lazy import lazy
from hilight_jax.core.sharding import storage_axes
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.formats.importing.imported_model import Imported
from hilight_jax.models import hilight_config, long_clip, video_text
from hilight_jax.runs.ancestry import ANCESTRY, converted
from hilight_jax.stages.chat_parts import TOKENIZER
from hilight_jax.stages.load_config import build_run

PRESET = "imported"
_RULES = {"encoder": video_text.PARTITION_RULES, "long_clip": long_clip.PARTITION_RULES}
# Elements of an array from which on it is stored in several pieces.
_WORTH_CUTTING = 1 << 16


def write_run(
    imported: Imported,
    workdir: Path,
    *,
    dtype: str = "float32",
    shards: int = 1,
    tokenizer: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Writes the working directory, whole or not at all.

    Args:
      imported: The model.
      workdir: Must not exist.
      dtype: Of the stored weights.
      shards: Pieces to store every large array in, so that as many hosts read one each.
      tokenizer: Gemma's ``tokenizer.model``.
      options: The user's decisions, for the record.

    Raises:
      UserError: The directory exists, or the disk is too small.
      ConfigError: A HiLight has no tokenizer, or one of another size.
    """
    params = trees.map_with_path(lambda _, x: lazy(x).astype(dtype), imported.params)
    run = run_config(imported)
    _check_tokenizer(imported, tokenizer)
    files = {file: None for foreign in imported.opened.values() for file in foreign.files}
    if tokenizer:
        files[tokenizer] = None
    facts = {
        "options": dict(options or {}),
        "choices": list(imported.choices),
        "arrays_used": imported.used,
        "left_over": dict(imported.left_over),
    }
    if imported.ancestry:
        facts["started_from"] = {"export": imported.ancestry}
    with whole_directory(workdir, weight_bytes(imported, dtype) + 2**24) as partial, ThreadPoolExecutor(1) as beside:
        # Hashing reads the files once more, beside the conversion, while they are in the system's cache.
        record = beside.submit(converted, imported.kind, files, facts)
        write_object(partial / "config.json", to_dict(run))
        if tokenizer:
            shutil.copyfile(tokenizer, partial / TOKENIZER)
        store = Store(partial / "checkpoints")
        rules = _RULES.get(imported.stage, hilight_config.PARTITION_RULES)
        pieces = storage_axes(trees.flatten(params), rules, shards, _WORTH_CUTTING) if shards > 1 else {}
        params, position = with_progress(params, "converting"), {"step": 0, "examples": 0, "seed": 0}
        store.save(0, params, None, position, to_dict(run), pieces=pieces)
        store.close()
        write_object(partial / ANCESTRY, record.result())


def weight_bytes(imported: Imported, dtype: str) -> int:
    """Bytes of the weights on the disk."""
    return imported.num_parameters * np.dtype(dtype).itemsize


def run_config(imported: Imported) -> Any:
    """The configuration of the run that an imported model stands for.

    Values that only training reads are at their defaults.
    """
    values: dict[str, Any] = {"name": imported.stage, "preset": PRESET, "stage": imported.stage}
    model = to_dict(imported.model)
    trained = {"steps": 1, "batch_size": 1, "optimizer": {}}
    if imported.stage == "language_model":
        return build_run(values | {"model": {"gemma": model["gemma"]}})
    if imported.stage == "encoder":
        data = {
            "num_frames": imported.model.vision.num_frames,
            "image_size": imported.model.vision.image_size,
            "text_length": imported.model.text.max_length,
            **imported.data,
        }
        similarity = data.pop("similarity", "dot")
        heads = {"dot": "within_clip", "cosine": "across_clips"}[similarity]
        loss = {"local": {"contrast": heads if imported.model.local.levels else "none"}}
        return build_run(values | trained | {"model": model, "loss": loss, "data": data})
    if imported.stage == "long_clip":
        data = {"image_size": imported.model.frames.image_size, "text_length": imported.model.text.max_length}
        return build_run(values | trained | {"model": model, "loss": {}, "data": data})
    return build_run(values | trained | _chat_values(imported, model))


def _chat_values(imported: Imported, model: dict[str, Any]) -> dict[str, Any]:
    """The values of a HiLight's run: an aligned one; with an adapter, a tuned one."""
    places = {name: str(foreign.path) for name, foreign in imported.opened.items()}
    tuned = imported.model.lora is not None
    sources = {"encoder": places.get("vision", places["weights"]), "language_model": places["weights"]}
    if imported.model.frames is not None:
        sources["long_clip"] = places.get("frames", places["weights"])
    if tuned:
        sources = {"align": places["weights"]}
    frames = imported.model.vision.num_frames
    rows = imported.model.num_video_tokens(frames)
    data = {
        "num_frames": frames,
        "image_size": imported.model.vision.image_size,
        "key_frames": {"rule": "uniform", "count": frames},
        "num_video_tokens": rows,
        "max_length": max(1024, 2 * rows),
        **imported.data,
    }
    stage = "tune" if tuned else "align"
    return {"name": stage, "stage": stage, "sources": sources, "model": model, "data": data}


def _check_tokenizer(imported: Imported, tokenizer: Path | None) -> None:
    """Refuses a HiLight without a tokenizer, and one that is not its language model's.

    Raises:
      ConfigError: The tokenizer is missing or has another size.
    """
    if tokenizer is None:
        if imported.stage == "chat":
            raise ConfigError(
                "a HiLight needs the tokenizer.model of its Gemma, and none lies beside it; give it by --tokenizer."
            )
        return
    if imported.stage not in ("chat", "language_model"):
        raise ConfigError("--tokenizer is for models with a language model, which this one has not; leave it out.")
    size, rows = GemmaTokenizer(tokenizer).vocab_size, imported.model.gemma.vocab_size
    if size > rows:
        raise ConfigError(
            f"the tokenizer '{tokenizer}' has {size} tokens, but the language model has {rows}; give the one that "
            f"belongs to it."
        )
