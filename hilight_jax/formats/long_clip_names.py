"""OpenAI's CLIP and Long-CLIP state dicts (beichenzbc/Long-CLIP, ``CLIP``) and our ``LongClip`` tree.

The official attention keeps q, k and v in one packed matrix. The table names its three parts ``in_proj_weight[q]`` and
so on; they are cut before the import and joined after the export.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray, Shared
from hilight_jax.core.trees import Tree
from hilight_jax.formats.mapping import LINEAR, PATCH_CONV, Entry, export_weights, import_weights, linear, norm

KEPT_POSITIONS = 20
_STRETCH = 4
_PACKED = re.compile(r".*\.attn\.in_proj_(weight|bias)")
_PREFIX = "module."
# Names in OpenAI's archives that are no weights.
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
# Arrays that the official loader keeps in float32: norms, embeddings and the logit scale.
_NOT_ROUNDED = re.compile(
    r"logit_scale|token_embedding\.weight|(visual\.)?positional_embedding(_res)?|visual\.class_embedding"
    r"|(.*\.)?ln_\w+\.(weight|bias)"
)


def _encoder(ours: str, theirs: str) -> tuple[Entry, ...]:
    ours, theirs = f"{ours}/encoder/layers", f"{theirs}.resblocks.{{layer}}"
    entries = [*norm(f"{ours}/layer_norm1", f"{theirs}.ln_1"), *norm(f"{ours}/layer_norm2", f"{theirs}.ln_2")]
    for part in "qkv":
        entries.append(Entry(f"{ours}/self_attn/{part}_proj/kernel", f"{theirs}.attn.in_proj_weight[{part}]", LINEAR))
        entries.append(Entry(f"{ours}/self_attn/{part}_proj/bias", f"{theirs}.attn.in_proj_bias[{part}]"))
    linears = {"self_attn/out_proj": "attn.out_proj", "mlp/fc1": "mlp.c_fc", "mlp/fc2": "mlp.c_proj"}
    for name, their_name in linears.items():
        entries += linear(f"{ours}/{name}", f"{theirs}.{their_name}")
    return tuple(entries)


# The projections are plain matrices [in, out], not torch's [out, in].
TABLE: tuple[Entry, ...] = (
    Entry("logit_scale", "logit_scale"),
    Entry("frames/embeddings/class_embedding", "visual.class_embedding"),
    Entry("frames/embeddings/position_embedding", "visual.positional_embedding"),
    Entry("frames/embeddings/patch_embedding/kernel", "visual.conv1.weight", PATCH_CONV),
    *norm("frames/pre_layernorm", "visual.ln_pre"),
    *_encoder("frames", "visual.transformer"),
    *norm("frames/post_layernorm", "visual.ln_post"),
    Entry("frames/projection/kernel", "visual.proj"),
    Entry("text/token_embedding", "token_embedding.weight"),
    Entry("text/position_embedding", "positional_embedding"),
    Entry("text/position_embedding_res", "positional_embedding_res"),
    *_encoder("text", "transformer"),
    *norm("text/final_layer_norm", "ln_final"),
    Entry("text/projection/kernel", "text_projection"),
)


def from_official(weights: Mapping[str, np.ndarray], template: Tree, fp16_rounded: bool = False) -> dict[str, Any]:
    """Imports an official Long-CLIP state dict.

    Args:
      weights: State dict as numpy arrays.
      template: Our parameters (or their shapes and dtypes). Where it holds one tower only, the names of the other are
        left aside: HiLight takes the image tower out of the whole file.
      fp16_rounded: Round convolutions, linear maps and projections through float16, as the official loader does even
        where it then computes in float32. HiLight's released connector was trained behind weights so rounded (a
        difference of about 1e-3 in the features).

    Raises:
      CheckpointError: Names are missing, left over or misshaped; all of them are listed.
    """
    named = {name.removeprefix(_PREFIX): x for name, x in weights.items()}
    named = {name: x for name, x in named.items() if name not in _NO_WEIGHTS and _part(name) in template}
    if fp16_rounded:
        for name, x in named.items():
            if not _NOT_ROUNDED.fullmatch(name):
                named[name] = x.astype(np.float16).astype(x.dtype)
    return import_weights(TABLE, _cut(named), template)


def to_official(params: Tree) -> dict[str, np.ndarray]:
    """Exports our parameters (all of them or a tower) under the official names.

    Raises:
      CheckpointError: A parameter has no official name.
    """
    return _joined(export_weights(TABLE, params))


def stretch_positions(table: np.ndarray, kept: int = KEPT_POSITIONS) -> np.ndarray:
    """CLIP's 77 positions as Long-CLIP's 248: the first 20 as they are, each of the others in four steps.

    Between two rows the steps are linear; the last row goes on in the direction of its last step, in quarters of it.
    The official code does this in float16, which moves the table by up to 8e-4: a float16 ``table`` gives just that.

    Args:
      table: Floating point [77, D], or any ``n > kept + 1`` rows.
      kept: Rows that stay.

    Returns:
      [kept + 4 (n - kept), D], in the dtype of ``table``.

    Raises:
      CheckpointError: There are too few rows to stretch.
    """
    if len(table) < kept + 2:
        raise CheckpointError(
            f"the position table has {len(table)} rows, but stretching keeps {kept} and needs at least 2 more; CLIP's "
            f"has 77."
        )
    rows = table[kept:, None]
    steps = np.arange(_STRETCH, dtype=table.dtype)[:, None]
    between = (_STRETCH - steps) * rows[:-1] / _STRETCH + steps * rows[1:] / _STRETCH
    beyond = rows[-1] + steps * (rows[-1] - rows[-2]) / _STRETCH
    return np.concatenate([table[:kept], between.reshape(-1, table.shape[1]), beyond])


def _part(name: str) -> str:
    """The top name of our tree that an official name belongs to."""
    return "logit_scale" if name == "logit_scale" else "frames" if name.startswith("visual.") else "text"


def _cut(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cuts packed attention weights into q, k and v; what does not divide stays and is reported."""
    cut = {}
    for name, x in weights.items():
        if _PACKED.fullmatch(name) and x.ndim and len(x) % 3 == 0:
            cut |= {f"{name}[{part}]": piece for part, piece in zip("qkv", _thirds(x), strict=True)}
        else:
            cut[name] = x
    return cut


def _joined(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of ``_cut``."""
    joined = {}
    for name, x in weights.items():
        packed = name.removesuffix("[q]")
        if packed != name:
            joined[packed] = _together([weights[f"{packed}[{part}]"] for part in "qkv"])
        elif not name.endswith(("[k]", "[v]")):
            joined[name] = x
    return joined


def _thirds(x: Any) -> Sequence[Any]:
    if not isinstance(x, LazyArray):
        return np.split(np.asarray(x), 3)
    shared, length = Shared(x, 3), len(x) // 3
    return [shared.piece(lambda x, i=i: x[i * length : (i + 1) * length], (length, *x.shape[1:])) for i in range(3)]


def _together(parts: Sequence[Any]) -> Any:
    if not any(isinstance(part, LazyArray) for part in parts):
        return np.concatenate(parts)
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    return LazyArray(shape, parts[0].dtype, lambda: np.concatenate([np.asarray(part) for part in parts]))
