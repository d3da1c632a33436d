"""LoRA's deltas as a directory that PEFT loads onto the exported language model."""

import re
from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.trees import Tree
from hilight_jax.formats.exporting.shards import write_safetensors
from hilight_jax.formats.gemma_names import ADAPTER_PREFIX, adapter_to_official
from hilight_jax.models.lora import LoraConfig

_LAYER = re.compile(r"\.layers\.\d+\.")


def write_adapter(deltas: Tree, config: LoraConfig, directory: Path, base: str = "") -> None:
    """Writes ``adapter_config.json`` and ``adapter_model.safetensors``.

    Targets are written as one pattern of whole names: the towers have linear maps of the same last names.

    Args:
      deltas: The collection ``lora``; numpy or lazy.
      config: Rank and alpha.
      directory: Is made.
      base: Where the model is that the adapter belongs to.

    Raises:
      CheckpointError: The deltas are empty, or no linear map's that PEFT's names know.
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
