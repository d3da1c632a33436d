"""Names of the arrays in exported Hugging Face directories, of chat models and of encoders, and our trees.

A chat model keeps known names: the language model those of ``GemmaForCausalLM``, token mining those of HiLight's
``token_mining.bin``, the video tower those of CLIP-ViP, and Long-CLIP those of transformers' ``CLIPModel``.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import Tree
from hilight_jax.formats import clip_names, gemma_names
from hilight_jax.formats.hilight_names import TOKEN_MINING_TABLE
from hilight_jax.formats.long_clip_names import KEPT_POSITIONS
from hilight_jax.formats.mapping import LINEAR, Entry, Layout, export_weights, import_weights, linear, norm

_VIDEO_TOWER, _TOKEN_MINING = "video_tower.", "token_mining."
_WORD_TRACKS = "word_tracks."
_PROJECTION = "visual_projection.weight"
# Of Long-CLIP's image tower: CLIP-ViP's without what it adds to CLIP.
_FRAMES = tuple(
    dataclasses.replace(entry, ours=f"frames/{entry.ours.removeprefix('vision/')}")
    for entry in clip_names.TABLE
    if entry.ours.startswith("vision/") and not entry.ours.endswith(("added_cls", "temporal_embedding"))
)

# Of token mining's options, which the original does not have.
_MINING_OPTIONS = (
    *(
        Entry(f"{name}/positions/{axis}", f"{name}_positions.{axis}")
        for name in ("key", "value")
        for axis in ("frame", "row", "column")
    ),
    *norm("output/final_norm", "final_norm"),
)

_GEMMA = tuple(dataclasses.replace(entry, ours=f"gemma/{entry.ours}") for entry in gemma_names.TABLE)
# Scales of ``exporting/quantize.py``, with an axis of one, [1, out] of a linear map and [vocab, 1] of the table.
_OF_OUTPUTS = Layout(lambda shape: shape[1:], lambda x: x[None], lambda x: x[0])
_OF_ROWS = Layout(lambda shape: shape[:1], lambda x: x[:, None], lambda x: x[:, 0])
_IN_8_BITS = tuple(
    entry
    for whole in _GEMMA
    if whole.ours.endswith(("kernel", "table"))
    for entry in (
        dataclasses.replace(whole, ours=f"{whole.ours}/int8"),
        Entry(
            f"{whole.ours}/scale",
            f"{whole.theirs.removesuffix('weight')}scale",
            _OF_OUTPUTS if whole.ours.endswith("kernel") else _OF_ROWS,
        ),
    )
)

# The largest number of tapped levels: those of the deepest towers.
_MOST_LEVELS = 64


def _level(i: int) -> tuple[Entry, ...]:
    ours, theirs = f"local/video_{i}", f"local.video_{i}"
    return (
        Entry(f"{ours}/kernel", f"{theirs}.weight", LINEAR),
        *norm(f"{ours}/norm", f"{theirs}.norm"),
        *linear(f"{ours}/fc1", f"{theirs}.fc1"),
        Entry(f"{ours}/fc2/kernel", f"{theirs}.fc2.weight", LINEAR),
        Entry(f"local/text_{i}/kernel", f"local.text_{i}.weight", LINEAR),
    )


_LOCAL = (Entry("local/scale", "local.scale"), *(entry for i in range(_MOST_LEVELS) for entry in _level(i)))

_RELATIONS = (
    *clip_names.layers("word_tracks/relations/encoder/layers", f"{_WORD_TRACKS}relations.layers.{{layer}}"),
    *(
        entry
        for layer in ("fc1", "fc2")
        for entry in linear(f"word_tracks/relations/{layer}", f"{_WORD_TRACKS}relations.{layer}")
    ),
    *(
        entry
        for name in ("name_norm", "norm")
        for entry in norm(f"word_tracks/relations/{name}", f"{_WORD_TRACKS}relations.{name}")
    ),
    Entry("word_tracks/relations/out/kernel", f"{_WORD_TRACKS}relations.out.weight", LINEAR),
)

# Whole models by part; names of the other parts' tables do not overlap.
TABLES: Mapping[str, tuple[Entry, ...]] = {
    "vision": tuple(
        dataclasses.replace(entry, theirs=_VIDEO_TOWER + entry.theirs.removeprefix("vision_model."))
        for entry in clip_names.TABLE
        if entry.ours.startswith("vision/")
    ),
    "frames": (*_FRAMES, Entry("frames/projection/kernel", _PROJECTION, LINEAR)),
    "visual_projection": (Entry("visual_projection/kernel", _PROJECTION, LINEAR),),
    "token_mining": tuple(
        dataclasses.replace(entry, ours=f"token_mining/{entry.ours}", theirs=_TOKEN_MINING + entry.theirs)
        for entry in (*TOKEN_MINING_TABLE, *_MINING_OPTIONS)
    ),
    "text": tuple(
        dataclasses.replace(entry, theirs=_WORD_TRACKS + entry.theirs)
        for entry in clip_names.TABLE
        if entry.ours.startswith("text/")
    ),
    "local": tuple(dataclasses.replace(entry, theirs=_WORD_TRACKS + entry.theirs) for entry in _LOCAL),
    "word_tracks": (
        *(
            entry
            for mlp in ("word_mlp", "thing_mlp")
            for layer in ("fc1", "fc2")
            for entry in linear(f"word_tracks/{mlp}/{layer}", f"{_WORD_TRACKS}{mlp}.{layer}")
        ),
        *_RELATIONS,
        Entry("word_tracks/clip_embedding", f"{_WORD_TRACKS}clip_embedding"),
    ),
    "gemma": (*_GEMMA, *_IN_8_BITS),
}
# Long-CLIP's text tower in ``CLIPModel``, but for its positions.
TEXT_TABLE: tuple[Entry, ...] = (
    *(entry for entry in clip_names.TABLE if entry.ours.startswith("text/") and "position_embedding" not in entry.ours),
    Entry("text/projection/kernel", "text_projection.weight", LINEAR),
    Entry("logit_scale", "logit_scale"),
)
_TEXT_POSITIONS = "text_model.embeddings.position_embedding.weight"


def chat_from_huggingface(weights: Mapping[str, Any], template: Tree) -> dict[str, Any]:
    """Imports the weights of an exported chat model, with or without a tied head, into the parts of ``template``.

    Raises:
      CheckpointError: Names are missing, left over or misshaped; all of them are listed.
    """
    table = [entry for part in template for entry in _table(part)]
    return import_weights(table, gemma_names.without_tied_head(weights), template)


def chat_to_huggingface(params: Tree) -> dict[str, np.ndarray]:
    """Exports the parts that ``params`` holds; ``lora`` is an adapter, see ``gemma_names``.

    Raises:
      CheckpointError: A part has no such form.
    """
    return export_weights([entry for part in params for entry in _table(part)], params)


def long_clip_text_to_huggingface(params: Tree) -> dict[str, Any]:
    """Exports Long-CLIP's text tower and logit scale under ``CLIPModel``'s names.

    Its two position tables become one: neither table's other rows are ever read.
    """
    text = dict(params["text"])
    first, second = text.pop("position_embedding"), text.pop("position_embedding_res")

    def join() -> np.ndarray:
        return np.concatenate([np.asarray(first)[:KEPT_POSITIONS], np.asarray(second)[KEPT_POSITIONS:]])

    weights = export_weights(TEXT_TABLE, {**params, "text": text})
    return weights | {_TEXT_POSITIONS: LazyArray(second.shape, second.dtype, join)}


def _table(part: str) -> tuple[Entry, ...]:
    if part not in TABLES:
        raise CheckpointError(
            f"the part '{part}' has no form in the exported model, which has {', '.join(TABLES)}; leave it out."
        )
    return TABLES[part]


# Of an exported encoder.
ENCODER_TABLE: tuple[Entry, ...] = (
    *clip_names.TABLE,
    *_LOCAL,
    Entry("local_projection/kernel", "local_projection.weight", LINEAR),
)
