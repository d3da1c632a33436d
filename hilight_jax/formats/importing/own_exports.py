"""What ``export`` wrote, brought in again: the same model, bit for bit where the dtype was kept."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.core.atomic_files import read_object
from hilight_jax.core.config import build
from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import flatten, unflatten
from hilight_jax.formats import gemma_names, huggingface_names
from hilight_jax.formats.checkpoint_files import Foreign, open_foreign
from hilight_jax.formats.importing import hilight
from hilight_jax.formats.importing.imported_model import Imported, set_aside
from hilight_jax.models import hilight as hilight_model
from hilight_jax.models import lora, video_text
from hilight_jax.models.hilight import HiLightConfig
from hilight_jax.models.video_text import DualEncoderConfig

RECORD = "hilight_jax.json"
_OTHER_TEXT = (
    r"text_model\..*|text_projection\.weight|logit_scale",
    "of Long-CLIP's text tower, which a chat model does not use",
)


def is_exported(path: Path) -> bool:
    """Whether a directory was written by ``export``."""
    return (path / RECORD).is_file()


def import_exported(path: Path) -> Imported:
    """Imports an exported directory of any format.

    Raises:
      CheckpointError: It was quantized, or it is damaged.
    """
    record = read_object(path / RECORD, CheckpointError, "export the model again")
    if record.get("quantize"):
        raise CheckpointError(
            f"'{path}' was exported with --quantize {record['quantize']}, which loses what the weights were; convert "
            f"the run that it was exported from."
        )
    importers = {
        "hilight": _hilight,
        "huggingface": _huggingface,
        "stablehlo": _stablehlo,
        "encoder": _encoder,
    }
    format_, data, ancestry = record.get("format"), record.get("data"), record.get("ancestry")
    if not isinstance(format_, str) or format_ not in importers:
        raise CheckpointError(f"'{path}/{RECORD}' names the format {format_!r}, which is not known.")
    if not (isinstance(data, dict) and isinstance(ancestry, dict) and {"model", "stage"} <= set(record)):
        raise CheckpointError(f"'{path}/{RECORD}' is damaged: it lacks what an export says; export the model again.")
    kind = f"an export of this package ({format_})"
    return dataclasses.replace(importers[format_](path, record), kind=kind, data=data, ancestry=ancestry)


def _hilight(path: Path, record: Mapping[str, Any]) -> Imported:
    foreign = open_foreign(path / "hilight")
    files = hilight.find_files(path / "hilight", hilight.ChatFiles(adapter=_adapter_place(path)))
    return hilight.import_hilight(foreign, files, fp16_rounded=False)


def _huggingface(path: Path, record: Mapping[str, Any]) -> Imported:
    foreign = open_foreign(path)
    config = build(HiLightConfig, record["model"], "config.model")
    weights, left = set_aside(foreign.weights, [_OTHER_TEXT])
    template = hilight_model.param_shapes(config)
    deltas = template.pop(lora.COLLECTION, None)
    params = huggingface_names.chat_from_huggingface(weights, template)
    opened = {"weights": foreign}
    used = len(weights)
    if deltas is not None:
        opened["adapter"] = open_foreign(path / "adapter")
        params[lora.COLLECTION] = {
            "gemma": gemma_names.adapter_from_official(opened["adapter"].weights, deltas["gemma"])
        }
        used += len(opened["adapter"].weights)
    return Imported("", "chat", config, params, used, left, opened)


def _stablehlo(path: Path, record: Mapping[str, Any]) -> Imported:
    foreign = open_foreign(path)
    if record["stage"] == "encoder":
        config = build(DualEncoderConfig, record["model"], "config.model")
        template = video_text.param_shapes(config)
        params = _by_path(foreign, foreign.weights, template)
        return Imported("", "encoder", config, params, len(foreign.weights), {}, {"weights": foreign})
    config = build(HiLightConfig, record["model"], "config.model")
    template = hilight_model.param_shapes(config)
    params = _by_path(foreign, _stacked(foreign.weights), template)
    return Imported("", "chat", config, params, len(foreign.weights), {}, {"weights": foreign})


def _encoder(path: Path, record: Mapping[str, Any]) -> Imported:
    foreign = open_foreign(path / "huggingface")
    config = build(DualEncoderConfig, record["model"], "config.model")
    params = huggingface_names.encoder_from_huggingface(foreign.weights, video_text.param_shapes(config))
    return Imported("", "encoder", config, params, len(foreign.weights), {}, {"weights": foreign})


def _adapter_place(path: Path) -> Path | None:
    return path / "adapter" if (path / "adapter").is_dir() else None


def _stacked(weights: Mapping[str, LazyArray]) -> dict[str, LazyArray]:
    """The language model's layers, of which each has arrays of its own, on a leading axis again."""
    layers: dict[str, dict[int, LazyArray]] = {}
    rest = {}
    for name, x in weights.items():
        if match := re.fullmatch(r"gemma/layers_(\d+)/(.*)", name):
            layers.setdefault(f"gemma/layers/{match[2]}", {})[int(match[1])] = x
        else:
            rest[name] = x
    return rest | {name: _stack([found[i] for i in sorted(found)]) for name, found in layers.items()}


def _stack(parts: list[LazyArray]) -> LazyArray:
    def read() -> np.ndarray:
        whole = np.empty((len(parts), *parts[0].shape), parts[0].dtype)
        for i, part in enumerate(parts):
            whole[i] = np.asarray(part)
        return whole

    return LazyArray((len(parts), *parts[0].shape), parts[0].dtype, read)


def _by_path(foreign: Foreign, weights: Mapping[str, LazyArray], template: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays that are named as ours are.

    Raises:
      CheckpointError: Names are missing, left over or misshaped.
    """
    wanted = {path: tuple(leaf.shape) for path, leaf in flatten(template).items()}
    found = {path: tuple(x.shape) for path, x in weights.items()}
    wrong = [f"'{path}' is {found.get(path, 'missing')}, expected {shape}" for path, shape in wanted.items()
             if found.get(path) != shape]  # fmt: skip
    wrong += [f"'{path}' is not part of this model" for path in found if path not in wanted]
    if wrong:
        raise CheckpointError(f"'{foreign.path}' is damaged: {'; '.join(wrong)}; export the model again.")
    return unflatten(dict(weights))
