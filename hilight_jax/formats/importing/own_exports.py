"""Imports exports of this package: the same model again, bit for bit where the dtype was kept."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import read_object
from hilight_jax.core.config import build
from hilight_jax.core.errors import CheckpointError
from hilight_jax.formats import gemma_names, huggingface_names
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.importing import hilight
from hilight_jax.formats.importing.imported_model import Imported, set_aside
from hilight_jax.formats.mapping import import_weights
from hilight_jax.models import hilight as hilight_model
from hilight_jax.models import lora, video_text
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.video_text import DualEncoderConfig

RECORD = "hilight_jax.json"
_OTHER_TEXT = (
    r"text_model\..*|text_projection\.weight|logit_scale",
    "of Long-CLIP's text tower, which a chat model does not use",
)


def is_exported(path: Path) -> bool:
    """True for a directory that ``export`` wrote."""
    return (path / RECORD).is_file()


def import_exported(path: Path) -> Imported:
    """Imports an exported directory of any format.

    Raises:
      CheckpointError: It was quantized, or it is damaged.
    """
    record = read_object(path / RECORD, CheckpointError, "export the model again")
    if record.get("format") == "packed":
        raise CheckpointError(f"'{path}' is a packed model, which needs no conversion: --checkpoint {path}.")
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
        raise CheckpointError(
            f"'{path}/{RECORD}' is damaged: it lacks fields of an export's record; export the model again."
        )
    kind = f"an export of this package ({format_})"
    return dataclasses.replace(importers[format_](path, record), kind=kind, data=data, ancestry=ancestry)


def _hilight(path: Path, record: Mapping[str, Any]) -> Imported:
    foreign = open_foreign(path / "hilight")
    adapter = path / "adapter" if (path / "adapter").is_dir() else None
    files = hilight.find_files(path / "hilight", hilight.ChatFiles(adapter=adapter))
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
    if record["stage"] == "encoder":
        return _encoder(path, record)
    foreign, config = open_foreign(path), build(HiLightConfig, record["model"], "config.model")
    template = hilight_model.param_shapes(config)
    params = import_weights(gemma_names.layer_table(template), foreign.weights, template)
    return Imported("", "chat", config, params, len(foreign.weights), {}, {"weights": foreign})


def _encoder(path: Path, record: Mapping[str, Any]) -> Imported:
    config = build(DualEncoderConfig, record["model"], "config.model")
    template = video_text.param_shapes(config)
    own = record["format"] == "stablehlo"
    foreign = open_foreign(path if own else path / "huggingface")
    table = gemma_names.layer_table(template) if own else huggingface_names.ENCODER_TABLE
    params = import_weights(table, foreign.weights, template)
    return Imported("", "encoder", config, params, len(foreign.weights), {}, {"weights": foreign})
