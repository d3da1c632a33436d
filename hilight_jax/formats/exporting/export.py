"""Exports a run in one of the formats."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from hilight_jax.checkpoints.store import Which
from hilight_jax.checkpoints.streaming import with_progress
from hilight_jax.core import trees
from hilight_jax.core.atomic_files import whole_directory, write_object
from hilight_jax.core.config import to_dict
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import ConfigError
from hilight_jax.formats.exporting.encoder_directory import write_encoder
from hilight_jax.formats.exporting.exported_model import ExportedChat, ExportedEncoder, OpenedRun, open_run
from hilight_jax.formats.exporting.hilight import check as check_hilight
from hilight_jax.formats.exporting.hilight import write_hilight
from hilight_jax.formats.exporting.huggingface import write_huggingface
from hilight_jax.formats.exporting.lora import write_adapter
from hilight_jax.formats.exporting.model_card import model_card
from hilight_jax.formats.exporting.packed import write_packed
from hilight_jax.formats.exporting.quantize import quantize
from hilight_jax.formats.exporting.reference_outputs import FILE, compute_reference_outputs
from hilight_jax.formats.exporting.stablehlo import write_stablehlo
from hilight_jax.formats.importing.own_exports import RECORD
from hilight_jax.formats.safetensors_files import write_safetensors
from hilight_jax.models.lora import COLLECTION
from hilight_jax.runs.ancestry import made_with, read_ancestry, sha256, without_places
from hilight_jax.runs.provenance import made_by

FORMATS = ("hilight", "huggingface", "stablehlo", "encoder", "packed")
# Of each format with adapters: the path from an adapter to its language model.
_BASES = {"hilight": "../hilight", "huggingface": ".."}
DTYPES = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """The options of an export in one of ``FORMATS``.

    ``merge`` adds LoRA's deltas to the weights, else they are written beside them; ``quantize`` is ``int8`` or empty.
    With ``reference_outputs`` the model is run on the fixed clip.
    """

    format: str
    which: Which = "latest"
    dtype: str = "float32"
    merge: bool = True
    quantize: str = ""
    reference_outputs: bool = True


def export(workdir: Path, directory: Path, options: ExportOptions) -> dict[str, Any]:
    """Writes an export, whole or not at all.

    Returns:
      Its record, which is also in ``hilight_jax.json``.

    Raises:
      UserError: The directory exists, the disk is too small, the run is incomplete, or the format has no place for
        what is asked.
    """
    if options.format == "encoder":
        workdir = _encoder_run(workdir)
    run = open_run(workdir, options.which, options.dtype, options.merge)
    model = run.model
    _check(options, model)
    tuned = getattr(run.config.model, "lora", None) is not None
    beside = getattr(model, "extra", {}) if options.format in ("hilight", "huggingface", "packed") else {}
    size = sum(leaf.nbytes for leaf in trees.flatten({"": model.params, "beside": beside}).values())
    parameters = sum(leaf.size for leaf in trees.flatten(model.params).values())
    record: dict[str, Any] = {
        "format": options.format,
        **made_with(),
        "stage": run.config.stage,
        "step": run.step,
        "dtype": options.dtype,
        "quantize": options.quantize,
        "lora": ("merged" if options.merge else "kept") if tuned else "",
        "parameters": parameters,
        "bytes": size,
        "model": to_dict(model.config),
        "data": _data(model),
        "metrics": dict(run.metrics),
        "ancestry": without_places(read_ancestry(workdir)),
        "limits": [],
    }
    with whole_directory(directory, size + 2**26) as partial:
        plain, deltas = _without_adapter(model)
        reference = _reference_outputs(plain) if options.reference_outputs else None
        log(f"writing {size / 1e9:.2f} GB as {options.format}")
        plain = dataclasses.replace(plain, params=with_progress(plain.params, "exporting"))
        limits, errors = _write(plain, partial, options, run, workdir)
        if deltas:
            write_adapter(deltas, model.config.lora, partial / "adapter", _BASES[options.format])  # pyright: ignore[reportAttributeAccessIssue]
        for check in run.checks:
            check()
        record |= {"limits": limits, "quantization_error": errors}
        if errors:
            lost = ", ".join(f"{name} {error:.2e}" for name, error in errors.items())
            log(f"8 bits cost, in relative RMS of the weights: {lost}")
        record["fingerprint"] = reference is not None
        if reference:
            write_safetensors(partial / FILE, reference)
            # Files that do not change the outputs, such as a tokenizer, are verified by their hashes.
            files = (path for path in sorted(partial.rglob("*")) if path.is_file())
            record["files"] = {path.relative_to(partial).as_posix(): sha256(path) for path in files}
        # Bytes on the disk, weights and all else.
        record["bytes"] = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
        write_object(partial / RECORD, record)
        (partial / "README.md").write_text(model_card(record), encoding="utf-8")
    return record


def _without_adapter(
    model: ExportedChat | ExportedEncoder,
) -> tuple[ExportedChat | ExportedEncoder, Mapping[str, Any] | None]:
    """The model that an adapter belongs to, and the adapter if there is one."""
    if COLLECTION not in model.params:
        return model, None
    rest = {name: tree for name, tree in model.params.items() if name != COLLECTION}
    config = dataclasses.replace(model.config, lora=None)
    return dataclasses.replace(model, params=rest, config=config), model.params[COLLECTION]


def _write(
    model: ExportedChat | ExportedEncoder, directory: Path, options: ExportOptions, run: OpenedRun, workdir: Path
) -> tuple[list[str], dict[str, float]]:
    """Writes the format; returns the limits for the model card, and the errors of 8 bits."""
    quantized = bool(options.quantize)
    if options.format == "encoder":
        return write_encoder(model, directory), {}
    if options.format == "packed":
        write_packed(run, model, workdir, directory, quantized)
        return [], {}
    if options.format == "stablehlo":
        return [], write_stablehlo(model, directory, quantized)
    if options.format == "huggingface":
        packed = quantize(model.params) if quantized else None
        write_huggingface(model, directory, quantized=packed)
        return [], packed.errors() if packed else {}
    return write_hilight(model, directory), {}


def _check(options: ExportOptions, model: ExportedChat | ExportedEncoder) -> None:
    """Refuses options that a format has no place for.

    Raises:
      ConfigError: The option, and the formats that have it.
    """
    chat = isinstance(model, ExportedChat)
    if options.format in ("hilight", "huggingface", "packed") and not chat:
        raise ConfigError(
            f"--format {options.format} is for chat models, and this is a run of the encoder; use --format encoder "
            f"or stablehlo."
        )
    if options.format == "hilight":
        check_hilight(model.config)
    if options.quantize and options.format not in ("huggingface", "stablehlo", "packed"):
        raise ConfigError(
            f"--quantize {options.quantize} has no place in --format {options.format}; use huggingface, stablehlo or "
            f"packed."
        )
    if not options.merge and options.format not in ("hilight", "huggingface"):
        raise ConfigError(f"--lora keep has no place in --format {options.format}; use hilight or huggingface.")
    if not options.merge and options.quantize:
        raise ConfigError("--lora keep needs weights that an adapter can be merged into; leave out --quantize.")


def _reference_outputs(model: ExportedChat | ExportedEncoder) -> Mapping[str, Any]:
    """Runs the model on the fixed clip; an adapter beside the weights is not part of it."""
    needed = 4.5 * sum(leaf.size for leaf in trees.flatten(model.params).values())
    if needed > _available_memory():
        raise ConfigError(
            f"running the model for its fingerprint takes {needed / 1e9:.0f} GB of memory, and "
            f"{_available_memory() / 1e9:.0f} GB are free; export it with --no_fingerprint, or on a larger machine."
        )
    log("running the model on the fixed clip")
    found = compute_reference_outputs(model)
    jax.clear_caches()
    return found


def _encoder_run(workdir: Path) -> Path:
    """The run that made a chat model's video tower; of an encoder's run, itself."""
    found = made_by(workdir, "vision")
    return Path(found.workdir) if found else workdir


def _data(model: ExportedChat | ExportedEncoder) -> dict[str, Any]:
    """The settings of the inputs, without the paths of data."""
    kept = ("num_frames", "image_size", "text_length", "key_frames", "num_video_tokens", "max_length", "max_videos")
    known = {name: value for name, value in to_dict(model.data).items() if name in kept}
    if isinstance(model, ExportedChat) and model.data.things is not None:
        known["things"] = list(model.data.things)
    return known | ({"similarity": model.similarity} if isinstance(model, ExportedEncoder) else {})


def _available_memory() -> int:
    """Bytes of free memory on this machine, caches counted as free."""
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["MemAvailable"].split()[0]) * 1024
