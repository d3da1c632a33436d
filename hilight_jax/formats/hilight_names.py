"""HiLight's official state dict (motern88/HiLight, ``HiLightGemmaForCausalLM``) and our tree of parts.

Token mining has its names here; towers and language model have theirs in ``clip_names``, ``long_clip_names`` and
``gemma_names``.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.trees import Tree
from hilight_jax.formats import clip_names, gemma_names, long_clip_names
from hilight_jax.formats.mapping import Entry, export_weights, import_weights, linear, norm

TOKEN_MINING_PREFIX = "model.token_mining."
# The prefixes of the official names by part; all other names are the language model's.
PREFIXES: Mapping[str, str] = {
    "vision": "model.vision_tower.vision_tower.model.",
    "frames": "model.vision_tower_aux.vision_tower.",
    "token_mining": TOKEN_MINING_PREFIX,
}
# Of CLIP-ViP and Long-CLIP HiLight holds more than it uses: it takes features before CLIP-ViP's projection.
_UNUSED = re.compile(
    rf"{re.escape(PREFIXES['vision'])}(visual_projection|text_projection|text_model|logit_scale)\b.*"
    rf"|{re.escape(PREFIXES['frames'])}(?!visual\.).*"
)


TOKEN_MINING_TABLE: tuple[Entry, ...] = (
    *linear("video_projector", "CLIP_VIP_projector.0"),
    *linear("frame_expansion", "LongCLIP_projector.0"),
    *norm("query/norm", "query_projector.0"),
    *linear("query/linear", "query_projector.1"),
    *norm("key/norm", "key_projector.0"),
    *linear("key/linear", "key_projector.1"),
    *norm("value/norm", "val_projector.0"),
    *linear("value/linear", "val_projector.1"),
    *norm("output/norm", "tokenizer_projector.0"),
    *linear("output/fc1", "tokenizer_projector.1"),
    *linear("output/fc2", "tokenizer_projector.3"),
)


def from_official(weights: Mapping[str, np.ndarray], template: Tree, fp16_rounded: bool = False) -> dict[str, Any]:
    """Imports a whole HiLight, or the parts of it that ``template`` names.

    Checkpoints written before the towers were loaded hold no tower; ask for ``token_mining`` and ``gemma`` alone then,
    and take the towers from their own files. ``fp16_rounded`` as in ``long_clip_names``.

    Raises:
      CheckpointError: Names are missing, left over or misshaped.
    """
    groups: dict[str, dict[str, np.ndarray]] = {part: {} for part in (*PREFIXES, "gemma")}
    for name, x in weights.items():
        if not _UNUSED.fullmatch(name):
            part = next((part for part, prefix in PREFIXES.items() if name.startswith(prefix)), "gemma")
            groups[part][name.removeprefix(PREFIXES.get(part, ""))] = x
    importers = {
        "vision": lambda x, tree: clip_names.from_official(x, {"vision": tree})["vision"],
        "frames": lambda x, tree: long_clip_names.from_official(x, {"frames": tree}, fp16_rounded)["frames"],
        "token_mining": token_mining_from_official,
        "gemma": gemma_names.from_official,
    }
    _check_parts(template, importers)
    return {part: importers[part](groups[part], tree) for part, tree in template.items()}


def to_official(params: Tree) -> dict[str, np.ndarray]:
    """Exports the parts that ``params`` holds under the official names; ``lora`` is an adapter, see ``gemma_names``.

    Raises:
      CheckpointError: A part has no official form.
    """
    exporters = {
        "vision": lambda tree: clip_names.to_official({"vision": tree}),
        "frames": lambda tree: long_clip_names.to_official({"frames": tree}),
        "token_mining": token_mining_to_official,
        "gemma": gemma_names.to_official,
    }
    _check_parts(params, exporters)
    return {
        f"{PREFIXES.get(part, '')}{name}": x
        for part, tree in params.items()
        for name, x in exporters[part](tree).items()
    }


def _check_parts(tree: Tree, known: Mapping[str, Any]) -> None:
    for part in tree:
        if part not in known:
            raise CheckpointError(
                f"the part '{part}' has no form in the official model, which has {', '.join(known)}; leave it out."
            )


def token_mining_from_official(weights: Mapping[str, np.ndarray], template: Tree) -> dict[str, Any]:
    """Imports a connector; names may carry the prefix that ``token_mining.bin`` and whole models give them.

    Raises:
      CheckpointError: Names are missing, left over or misshaped; all of them are listed.
    """
    bare = {name.removeprefix(TOKEN_MINING_PREFIX): x for name, x in weights.items()}
    return import_weights(TOKEN_MINING_TABLE, bare, template)


def token_mining_to_official(params: Tree) -> dict[str, np.ndarray]:
    """Exports a connector under the names of ``UniLMProjectors``, without prefix."""
    return export_weights(TOKEN_MINING_TABLE, params)
