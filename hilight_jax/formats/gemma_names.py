"""Gemma's names in transformers (``GemmaForCausalLM``) and in PEFT's LoRA adapters, and our language model's tree.

HiLight's checkpoints keep the same names and add token mining's, see ``hilight_names``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.trees import Tree, flatten
from hilight_jax.formats.mapping import LINEAR, Entry, export_weights, import_weights

_LAYER = "model.layers.{layer}"
# Our path below a layer, theirs.
_LINEARS = {
    **{f"attn/{name}_proj": f"self_attn.{name}_proj" for name in "qkvo"},
    **{f"mlp/{name}_proj": f"mlp.{name}_proj" for name in ("gate", "up", "down")},
}

TABLE: tuple[Entry, ...] = (
    Entry("embedder/table", "model.embed_tokens.weight"),
    *(Entry(f"layers/{ours}/kernel", f"{_LAYER}.{theirs}.weight", LINEAR) for ours, theirs in _LINEARS.items()),
    Entry("layers/attn_norm/scale", f"{_LAYER}.input_layernorm.weight"),
    Entry("layers/mlp_norm/scale", f"{_LAYER}.post_attention_layernorm.weight"),
    Entry("final_norm/scale", "model.norm.weight"),
)

# PEFT wraps the model twice before its own names begin.
ADAPTER_PREFIX = "base_model.model."
ADAPTER_TABLE: tuple[Entry, ...] = tuple(
    Entry(f"layers/{ours}/{delta}", f"{ADAPTER_PREFIX}{_LAYER}.{theirs}.lora_{delta.upper()}.weight", LINEAR)
    for ours, theirs in _LINEARS.items()
    for delta in "ab"
)

_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def from_official(weights: Mapping[str, np.ndarray], template: Tree) -> dict[str, Any]:
    """Imports the state dict of a ``GemmaForCausalLM``.

    The rotary frequencies that old versions store are skipped, and so is an output head that repeats the embedding, as
    ``.bin`` files have it; every other name must fit.

    Raises:
      CheckpointError: Names are missing, left over or misshaped (all of them are listed), or the head is not tied.
    """
    return import_weights(TABLE, without_tied_head(weights), template)


def to_official(params: Tree) -> dict[str, np.ndarray]:
    """Exports our parameters under the official names, without the tied head."""
    return export_weights(TABLE, params)


def adapter_from_official(weights: Mapping[str, np.ndarray], template: Tree) -> dict[str, Any]:
    """Imports a PEFT adapter into the collection ``lora``; ``template`` is what ``models.lora.init`` makes.

    Raises:
      CheckpointError: Names are missing, left over or misshaped, as in an adapter for another model; all are listed.
    """
    return import_weights(ADAPTER_TABLE, weights, template)


def adapter_to_official(deltas: Tree) -> dict[str, np.ndarray]:
    """Exports the collection ``lora`` under PEFT's names (``adapter_model`` files)."""
    return export_weights(ADAPTER_TABLE, deltas)


def layer_table(params: Tree) -> tuple[Entry, ...]:
    """Rows of a chat model under our own names, but with ``gemma/layers_0`` and so on for the layers of Gemma."""
    return tuple(Entry(path, path.replace("gemma/layers/", "gemma/layers_{layer}/")) for path in flatten(params))


def without_tied_head(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drops redundant arrays: stored rotary frequencies, and an output head equal to the embedding.

    Raises:
      CheckpointError: The head differs from the embedding.
    """
    kept = {name: x for name, x in weights.items() if not name.endswith("rotary_emb.inv_freq")}
    head = kept.pop(_HEAD, None)
    if head is not None and _EMBEDDING in kept and not np.array_equal(head, kept[_EMBEDDING]):
        raise CheckpointError(
            f"'{_HEAD}' differs from '{_EMBEDDING}', but Gemma's head is its embedding; "
            f"this is a checkpoint of another architecture."
        )
    return kept
