"""Exports a run, and verifies an export: what the command ``export`` does."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hilight_jax.checkpoints.store import Which
from hilight_jax.core import trees
from hilight_jax.core.atomic_files import read_object, whole_directory, write_object
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import CheckpointError, ConfigError
from hilight_jax.formats.exporting.encoder_directory import write_encoder
from hilight_jax.formats.exporting.exportable import ExportedChat, ExportedEncoder
from hilight_jax.formats.exporting.fixed_clip import measure
from hilight_jax.formats.exporting.gather import Gathered, gather
from hilight_jax.formats.exporting.hilight import check as check_hilight
from hilight_jax.formats.exporting.hilight import write_hilight
from hilight_jax.formats.exporting.huggingface import write_huggingface
from hilight_jax.formats.exporting.model_card import model_card
from hilight_jax.formats.exporting.peft_adapter import write_adapter
from hilight_jax.formats.exporting.quantize import quantize
from hilight_jax.formats.exporting.reference_outputs import deviations, read_fingerprint
from hilight_jax.formats.exporting.stablehlo import write_stablehlo
from hilight_jax.formats.exporting.verification import outputs
from hilight_jax.formats.importing.own_exports import RECORD
from hilight_jax.formats.reading_progress import told
from hilight_jax.models.lora import COLLECTION
from hilight_jax.runs.ancestry import made_with, read_ancestry, sha256, without_places
from hilight_jax.runs.provenance import read_provenance

FORMATS = ("hilight", "huggingface", "stablehlo", "encoder")
# Where a format has the language model that an adapter belongs to, seen from the adapter.
_BASES = {"hilight": "../hilight", "huggingface": ".."}
DTYPES = ("float32", "bfloat16", "float16")
# What an output may lie off, as a share of its largest value (of 1 at least): other programs sum in another order, half
# precision is rounded on the way, 8 bits are rounded beforehand.
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
INT8_TOLERANCE = 0.1


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What to write.

    Attributes:
      format: One of ``FORMATS``.
      which: The best or the latest checkpoint.
      dtype: Of the weights.
      merge: Add LoRA's deltas to the weights; else they are written beside them.
      quantize: ``int8`` or nothing.
      fingerprint: Run the model and keep what it says.
    """

    format: str
    which: Which = "latest"
    dtype: str = "float32"
    merge: bool = True
    quantize: str = ""
    fingerprint: bool = True


def export(workdir: Path, directory: Path, options: ExportOptions, tell: Callable[[str], None]) -> dict[str, Any]:
    """Writes an export, whole or not at all.

    Returns:
      Its record, which is also in ``hilight_jax.json``.

    Raises:
      UserError: The directory exists, the disk is too small, the run is incomplete, or the format has no place for
        what is asked.
    """
    if options.format == "encoder":
        workdir = _encoder_run(workdir)
    gathered = gather(workdir, options.which, options.dtype, options.merge)
    model = gathered.model
    _check(options, model)
    lora = _lora_state(gathered, options)
    beside = getattr(model, "extra", {}) if options.format in ("hilight", "huggingface") else {}
    size = sum(leaf.nbytes for leaf in trees.flatten({"": model.params, "beside": beside}).values())
    parameters = sum(leaf.size for leaf in trees.flatten(model.params).values())
    record: dict[str, Any] = {
        "format": options.format,
        **made_with(),
        "stage": gathered.run.stage,
        "step": gathered.step,
        "dtype": options.dtype,
        "quantize": options.quantize,
        "lora": lora,
        "parameters": parameters,
        "bytes": size,
        "model": to_dict(model.config),
        "data": _data(model),
        "metrics": dict(gathered.metrics),
        "ancestry": without_places(read_ancestry(workdir)),
        "limits": [],
    }
    with whole_directory(directory, size + 2**26) as partial:
        plain, deltas = _without_adapter(model)
        fingerprint = _fingerprint(plain, options, tell)
        tell(f"writing {size / 1e9:.2f} GB as {options.format}")
        plain = dataclasses.replace(plain, params=told(plain.params, "exporting"))
        limits, errors = _write(plain, partial, options)
        if deltas:
            write_adapter(deltas, model.config.lora, partial / "adapter", _BASES[options.format])
        gathered.check()
        record |= {"limits": limits, "quantization_error": errors}
        if errors:
            tell(_quantization_line(errors))
        if fingerprint:
            fingerprint.write(partial)
        record["fingerprint"] = fingerprint is not None
        if fingerprint:  # What does not show in the outputs, such as a tokenizer, is known by its hash.
            record["files"] = _hashes(partial)
        # What is on the disk now, weights and all else.
        record["bytes"] = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
        write_object(partial / RECORD, record)
        (partial / "README.md").write_text(model_card(record), encoding="utf-8")
    return record


def verify(directory: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Runs an export on its fixed clip.

    Returns:
      ``deviations`` by output, what is ``allowed`` of them, ``same``, and ``why`` not.

    Raises:
      CheckpointError: It is no export, or has no fingerprint.
    """
    path = directory / RECORD
    if not path.is_file():
        raise CheckpointError(f"'{directory}' is no export of this package: it has no {RECORD}.")
    record = read_object(path, CheckpointError, "export the model again")
    fingerprint = read_fingerprint(directory)
    changed = _changed(directory, record.get("files", {}))
    tell(f"running the {record['format']} export in {directory}")
    found = deviations(fingerprint, outputs(directory, record))
    share = INT8_TOLERANCE if record["quantize"] else TOLERANCES[record["dtype"]]
    allowed = {}
    for name in found:
        wanted = np.asarray(fingerprint.arrays[name])
        if not np.issubdtype(wanted.dtype, np.integer):
            allowed[name] = share * max(1.0, float(np.abs(wanted).max()))
        elif share == TOLERANCES["float32"]:
            allowed[name] = 0.0  # Every token the same; rounded weights may choose others.
    wrong = [name for name, most in allowed.items() if not found[name] <= most]
    why = "" if not wrong else f": {wrong[0]} may be off by {allowed[wrong[0]]:.2g} in rounding, no more"
    if changed:
        wrong, why = changed, f": {', '.join(changed[:3])} changed since, or is gone"
    return {"deviations": found, "allowed": allowed, "changed": changed, "same": not wrong, "why": why}


def _hashes(directory: Path) -> dict[str, str]:
    """The SHA-256 of every file."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): sha256(path) for path in files}


def _changed(directory: Path, files: Mapping[str, str]) -> list[str]:
    """The files that are no longer what was written."""
    return [
        name for name, known in files.items() if not (directory / name).is_file() or sha256(directory / name) != known
    ]


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
    model: ExportedChat | ExportedEncoder, directory: Path, options: ExportOptions
) -> tuple[list[str], dict[str, float]]:
    """Writes the format; what its exporter says about limits, and what 8 bits cost."""
    quantized = bool(options.quantize)
    if options.format == "encoder":
        return write_encoder(model, directory), {}
    if options.format == "stablehlo":
        return [], write_stablehlo(model, directory, quantized)
    if options.format == "huggingface":
        packed = quantize(model.params) if quantized else None
        write_huggingface(model, directory, quantized=packed)
        return [], packed.errors() if packed else {}
    return write_hilight(model, directory), {}


def _check(options: ExportOptions, model: ExportedChat | ExportedEncoder) -> None:
    """Refuses what a format has no place for.

    Raises:
      ConfigError: What, and which formats have.
    """
    chat = isinstance(model, ExportedChat)
    if options.format in ("hilight", "huggingface") and not chat:
        raise ConfigError(
            f"--format {options.format} is for chat models, and this is a run of the encoder; use --format encoder "
            f"or stablehlo."
        )
    if options.format == "hilight":
        check_hilight(model.config)
    if options.quantize and options.format not in ("huggingface", "stablehlo"):
        raise ConfigError(
            f"--quantize {options.quantize} has no place in --format {options.format}; use huggingface or stablehlo."
        )
    if not options.merge and options.format not in ("hilight", "huggingface"):
        raise ConfigError(f"--lora keep has no place in --format {options.format}; use hilight or huggingface.")
    if not options.merge and options.quantize:
        raise ConfigError("--lora keep needs weights that an adapter can be merged into; leave out --quantize.")


def _fingerprint(model: ExportedChat | ExportedEncoder, options: ExportOptions, tell: Callable[[str], None]) -> Any:
    """What the model says about the fixed clip; an adapter beside the weights is not part of it."""
    if not options.fingerprint:
        return None
    needed = 4.5 * sum(leaf.size for leaf in trees.flatten(model.params).values())
    if needed > _available_memory():
        raise ConfigError(
            f"running the model for its fingerprint takes {needed / 1e9:.0f} GB of memory, and "
            f"{_available_memory() / 1e9:.0f} GB are free; export it with --no_fingerprint, or on a larger machine."
        )
    tell("running the model on the fixed clip")
    found = measure(model)
    jax.clear_caches()
    return found


def _lora_state(gathered: Gathered, options: ExportOptions) -> str:
    tuned = getattr(gathered.run.model, "lora", None) is not None
    return ("merged" if options.merge else "kept") if tuned else ""


def _encoder_run(workdir: Path) -> Path:
    """The run of the encoder that a chat model sees with; an encoder's run is itself."""
    found = read_provenance(workdir).get("vision")
    return _encoder_run(Path(found.workdir)) if found else workdir


def _data(model: ExportedChat | ExportedEncoder) -> dict[str, Any]:
    """How inputs are made, without the places of anybody's data."""
    kept = ("num_frames", "image_size", "text_length", "key_frames", "num_video_tokens", "max_length", "max_videos")
    known = {name: value for name, value in to_dict(model.data).items() if name in kept}
    return known | ({"similarity": model.similarity} if isinstance(model, ExportedEncoder) else {})


def _quantization_line(errors: Mapping[str, float]) -> str:
    return "8 bits cost, in relative RMS of the weights: " + ", ".join(f"{k} {v:.2e}" for k, v in errors.items())


def _available_memory() -> int:
    """Bytes of memory that are free on this machine, caches counted as free."""
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["MemAvailable"].split()[0]) * 1024
