"""LoRA's deltas in an export: added to the language model's weights, or written beside them as an adapter of PEFT's."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import Tree, flatten, unflatten
from hilight_jax.formats.gemma_names import ADAPTER_PREFIX, adapter_to_official
from hilight_jax.formats.safetensors_files import write_safetensors
from hilight_jax.models.lora import LoraConfig, check_fits

_LAYER = re.compile(r"\.layers\.\d+\.")


def merge_lazily(params: Tree, deltas: Tree, config: LoraConfig) -> dict[str, Any]:
    """Adds every delta to its stacked kernel: ``kernel + alpha / rank * a @ b``, as lazy arrays.

    Sums are made in float32 (float64 for such kernels) and rounded once to the kernel's dtype.

    Raises:
      CheckpointError: The deltas are of another model or another rank.
    """
    check_fits(params, deltas, config)
    flat, pairs = flatten(params), flatten(deltas)
    for path in {path.rpartition("/")[0] for path in pairs}:
        kernel, a, b = flat[f"{path}/kernel"], pairs[f"{path}/a"], pairs[f"{path}/b"]
        flat[f"{path}/kernel"] = LazyArray(
            kernel.shape, kernel.dtype, lambda k=kernel, a=a, b=b: _merged(k, a, b, config.scale)
        )
    return unflatten(flat)


def write_adapter(deltas: Tree, config: LoraConfig, directory: Path, base: str = "") -> None:
    """Writes ``adapter_config.json`` and ``adapter_model.safetensors`` into a new directory.

    Targets are written as one pattern of whole names: the towers have linear maps of the same last names. ``base`` is
    the path of the model that the adapter belongs to, seen from the adapter.

    Raises:
      CheckpointError: The deltas are empty, or of a linear map without a name in PEFT.
    """
    weights = adapter_to_official(deltas.get("gemma", deltas))
    if not weights:
        raise CheckpointError("the adapter is empty; export the model without it.")
    maps = sorted({_LAYER.split(name.removeprefix(ADAPTER_PREFIX))[1].rpartition(".lora_")[0] for name in weights})
    directory.mkdir()
    values: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base or None,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": rf"model\.layers\.\d+\.({'|'.join(map(re.escape, maps))})",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_rslora": False,
        "use_dora": False,
    }
    write_object(directory / "adapter_config.json", values)
    write_safetensors(directory / "adapter_model.safetensors", weights)


def _merged(kernel: Any, a: Any, b: Any, scale: float) -> np.ndarray:
    whole = np.asarray(kernel)
    whole = whole if whole.flags.writeable else whole.copy()
    precise = np.promote_types(whole.dtype, np.float32) if whole.dtype.kind == "f" else np.dtype(np.float32)
    a, b = np.asarray(a, precise), np.asarray(b, precise)
    for layer in range(len(whole)):
        whole[layer] = (whole[layer].astype(precise) + scale * (a[layer] @ b[layer])).astype(whole.dtype)
    return whole
