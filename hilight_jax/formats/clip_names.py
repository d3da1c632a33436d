"""The official CLIP-ViP state dict (microsoft/XPretrain, ``CLIPModel`` and ``VidCLIP``) and our dual encoder's tree.

HiLight's CLIP-ViP tower uses the same names: import it with a template that holds ``vision`` (and whatever else of the
model its file keeps). Local heads are no part of the official model; leave them out of the template and of the export.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hilight_jax.core.trees import Tree
from hilight_jax.formats.mapping import (
    LEADING_ONE,
    LINEAR,
    PATCH_CONV,
    Entry,
    export_weights,
    import_weights,
    linear,
    norm,
)

# Wrappers of the original: VidCLIP, HiLight's tower, DistributedDataParallel.
PREFIXES = ("module.", "model.", "clipmodel.")


def layers(ours: str, theirs: str) -> tuple[Entry, ...]:
    """Rows of an encoder's stacked layers; ``{layer}`` stands for their number in ``theirs``."""
    parts = {"self_attn": ("q_proj", "k_proj", "v_proj", "out_proj"), "mlp": ("fc1", "fc2")}
    return (
        *(row for part in parts for x in parts[part] for row in linear(f"{ours}/{part}/{x}", f"{theirs}.{part}.{x}")),
        *(row for x in ("layer_norm1", "layer_norm2") for row in norm(f"{ours}/{x}", f"{theirs}.{x}")),
    )


_VISION, _TEXT = "vision_model.embeddings", "text_model.embeddings"
TABLE: tuple[Entry, ...] = (
    Entry("logit_scale", "logit_scale"),
    Entry("visual_projection/kernel", "visual_projection.weight", LINEAR),
    Entry("text_projection/kernel", "text_projection.weight", LINEAR),
    Entry("vision/embeddings/class_embedding", f"{_VISION}.class_embedding"),
    Entry("vision/embeddings/added_cls", f"{_VISION}.added_cls"),
    Entry("vision/embeddings/patch_embedding/kernel", f"{_VISION}.patch_embedding.weight", PATCH_CONV),
    Entry("vision/embeddings/position_embedding", f"{_VISION}.position_embedding.weight"),
    Entry("vision/embeddings/temporal_embedding", f"{_VISION}.temporal_embedding", LEADING_ONE),
    *norm("vision/pre_layernorm", "vision_model.pre_layrnorm"),
    *layers("vision/encoder/layers", "vision_model.encoder.layers.{layer}"),
    *norm("vision/post_layernorm", "vision_model.post_layernorm"),
    Entry("text/token_embedding", f"{_TEXT}.token_embedding.weight"),
    Entry("text/position_embedding", f"{_TEXT}.position_embedding.weight"),
    *layers("text/encoder/layers", "text_model.encoder.layers.{layer}"),
    *norm("text/final_layer_norm", "text_model.final_layer_norm"),
)


def from_official(weights: Mapping[str, np.ndarray], template: Tree) -> dict[str, Any]:
    """Imports the paths of ``template``, our parameters (or their shapes and dtypes) without ``local``.

    Known prefixes are cut off, the ``position_ids`` buffers of old transformers and the empty ``added_cls`` of a model
    with one proxy token are skipped; every other name must fit.

    Raises:
      CheckpointError: Names are missing, left over or misshaped; all of them are listed.
    """
    named = {bare_name(name): x for name, x in weights.items()}
    kept = {name: x for name, x in named.items() if not name.endswith(".position_ids") and x.size}
    return import_weights(TABLE, kept, template)


def to_official(params: Tree) -> dict[str, np.ndarray]:
    """Exports our parameters (all of them or a part, without ``local``) under the official names, without prefix.

    Raises:
      CheckpointError: A parameter has no official name, as the local heads.
    """
    return export_weights(TABLE, params)


def bare_name(name: str) -> str:
    """Cuts wrappers' prefixes off a name, however many there are."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name
