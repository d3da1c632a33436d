"""Packed models: a chat model and its encoder in one small directory, taken where a trained run is asked for.

``export --format packed`` writes them. The first use unpacks one into two runs, ``encoder`` and ``chat``, under
``$HILIGHT_CACHE`` (default: ``~/.cache/hilight_jax``); from then on they are runs like any other. A packed model that
comes with the package, such as ``billiards-mini``, is named without a path.

Files, beside those of every export (``hilight_jax.json``, ``README.md``, ``fingerprint.safetensors``):

    weights.safetensors   parameters, ``encoder/...`` and ``chat/...`` without the parts that it shares with the encoder
    runs.json             of each run its ``config``, ``step``, ``ancestry`` and ``evaluations``, which hold the fitted
                          temperature of confidences and the threshold of things that are seen
    tokenizer.model       of the language model

With ``--quantize int8`` arrays of half a million numbers and more are stored in 8 bits, with a scale for each row.
"""

import contextlib
import dataclasses
import fcntl
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.checkpoints.store import Store
from hilight_jax.core import trees
from hilight_jax.core.atomic_files import read_object, whole_directory, write_object
from hilight_jax.core.cache import cache_directory
from hilight_jax.core.config import to_dict
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import CheckpointError, ConfigError, nearest
from hilight_jax.formats.exporting.exported_model import ExportedChat, OpenedRun
from hilight_jax.formats.exporting.quantize import quantize_array
from hilight_jax.formats.importing.own_exports import RECORD
from hilight_jax.formats.safetensors_files import read_safetensors, write_safetensors
from hilight_jax.models.hilight import param_shapes
from hilight_jax.pages.report import read_evaluations
from hilight_jax.runs.ancestry import ANCESTRY, read_ancestry, sha256, without_places
from hilight_jax.runs.provenance import Origin, fingerprint, made_by, write_provenance
from hilight_jax.runs.workdir import CONFIG
from hilight_jax.stages.chat_config import Sources
from hilight_jax.stages.chat_parts import TOKENIZER
from hilight_jax.stages.load_config import build_run, read_config

FORMAT = "packed"
SHIPPED = Path(__file__).parents[2] / "pretrained"
CACHE = "HILIGHT_CACHE"
_WEIGHTS, _RUNS = "weights.safetensors", "runs.json"
_LARGE = 2**19
_FITTED = {"encoder": "threshold of things that are seen", "chat": "temperature of confidences"}
_ADVICE = "export the model again, or install the package anew"


def write_packed(run: OpenedRun, model: ExportedChat, workdir: Path, directory: Path, quantized: bool) -> None:
    """Writes the files of a packed model.

    Args:
      run: The run as it was opened.
      model: Its model, LoRA merged.
      workdir: Of the run.
      directory: To write into.
      quantized: Store large arrays in 8 bits.

    Raises:
      ConfigError: The run of the encoder is gone.
    """
    origin = made_by(workdir, "vision")
    if origin is None or "encoder" not in model.extra:
        raise ConfigError(f"'{workdir}' is packed with its encoder, whose run is gone; put it back where it was.")
    encoder = {"vision": model.params["vision"], **model.extra["encoder"]}
    own = {name: part for name, part in model.params.items() if not _same(part, encoder.get(name))}
    flat = trees.flatten({"encoder": encoder, "chat": own})
    write_safetensors(directory / _WEIGHTS, _in_8_bits(flat) if quantized else flat)
    long_clip = "" if model.config.frames is None else "chat"
    chat = dataclasses.replace(
        run.config, stage="align", sources=Sources("encoder", long_clip), freeze=(), model=model.config, init_from=None
    )
    runs = {
        "encoder": _described(read_config(origin.workdir), Path(origin.workdir), origin.step),
        "chat": _described(chat, workdir, run.step),
    }
    write_object(directory / _RUNS, runs)
    shutil.copyfile(model.tokenizer, directory / TOKENIZER)
    for name, fitted in (("encoder", "grounding"), ("chat", "calibration")):
        if not any(result.get(fitted) for result in runs[name]["evaluations"]):
            log(f"the {name} was not evaluated at this step, so no {_FITTED[name]} goes with it.")


def find_run(given: str | Path) -> Path:
    """Returns the run that a command is asked for: the path itself, or the unpacked run of a packed model.

    Args:
      given: A working directory, the directory of a packed model, or the name of one that comes with the package; of
        a packed model's two runs ``MODEL`` is the chat run, and ``MODEL/encoder`` the encoder's.

    Raises:
      CheckpointError: The packed model is damaged, the cache cannot be written, or it is an export in another format.
    """
    packed, part = Path(given), "chat"
    if packed.name == "encoder" and (is_packed(packed.parent) or str(packed.parent) in shipped()):
        packed, part = packed.parent, "encoder"
    if not packed.exists() and str(packed) in shipped():
        packed = SHIPPED / packed
    if not packed.exists() and (meant := nearest(str(given), shipped())):
        raise CheckpointError(f"'{given}' is no working directory and no model that comes with the package.{meant}")
    if not is_packed(packed):
        if (packed / RECORD).is_file():
            raise CheckpointError(
                f"'{given}' is an export for others to load, not a run; make one of it by 'python -m "
                f"hilight_jax.convert {given} --to WORKDIR'."
            )
        return packed
    name = f"{packed.resolve().name}-{sha256(packed / _RUNS)[:8]}{sha256(packed / _WEIGHTS)[:8]}"
    place = cache_directory() / name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place.with_name(f"{name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # Another process that unpacks it is waited for.
            if not place.is_dir():
                log(f"unpacking {given} into {place} (once)")
                unpack(packed, place)
    except OSError as error:
        raise CheckpointError(
            f"'{given}' cannot be unpacked into {place}: {error.strerror}; name a folder that can be written by the "
            f"environment variable {CACHE}."
        ) from error
    return place / part


def shipped() -> list[str]:
    """Names of the packed models that come with the package."""
    return sorted(path.name for path in SHIPPED.glob("*") if is_packed(path))


def is_packed(path: Path) -> bool:
    """True for the directory of a packed model."""
    return (path / RECORD).is_file() and read_object(path / RECORD, CheckpointError, _ADVICE).get("format") == FORMAT


def unpack(packed: Path, to: Path) -> None:
    """Writes the runs ``to/encoder`` and ``to/chat``, whole or not at all.

    Raises:
      CheckpointError: The packed model is damaged.
      UserError: ``to`` exists, or the disk is too small.
    """
    runs = read_object(packed / _RUNS, CheckpointError, _ADVICE)
    params = trees.unflatten(_in_float32(read_safetensors(packed / _WEIGHTS)))
    if not {"encoder", "chat"} <= set(runs) & set(params):
        raise CheckpointError(f"'{packed}' is damaged: it lacks one of its two runs; {_ADVICE}.")
    size = sum(x.nbytes for x in trees.flatten(params).values())
    with whole_directory(to, size + 2**24) as partial:
        for name in ("encoder", "chat"):
            _write_run(partial / name, params[name], runs[name])
        place, step = str((partial / "encoder").resolve()), runs["encoder"]["step"]
        config: Any = build_run(runs["chat"]["config"])
        shared = set(param_shapes(config.model)) & set(params["encoder"]) - set(params["chat"])
        origins = {name: Origin(place, step, fingerprint(params["encoder"][name])) for name in sorted(shared)}
        write_provenance(partial / "chat", origins)
        shutil.copyfile(packed / TOKENIZER, partial / "chat" / TOKENIZER)


def _same(part: Any, other: Any) -> bool:
    """True if a part of the chat model is the encoder's."""
    return other is not None and (part is other or fingerprint(part) == fingerprint(other))


def _described(config: Any, workdir: Path, step: int) -> dict[str, Any]:
    """The entry of a run in ``runs.json``; answers one by one are left out."""
    evaluations = [result for result in read_evaluations(workdir) if result.get("step") == step]
    kept = [{name: value for name, value in result.items() if name != "answers_file"} for result in evaluations]
    ancestry = without_places(read_ancestry(workdir))
    return {"config": to_dict(config), "step": step, "evaluations": kept, "ancestry": ancestry}


def _write_run(workdir: Path, params: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    (workdir / "evaluations").mkdir(parents=True)
    write_object(workdir / CONFIG, described["config"])
    write_object(workdir / ANCESTRY, described["ancestry"])
    for result in described["evaluations"]:
        write_object(workdir / "evaluations" / f"{result['name']}.json", result)
    with contextlib.closing(Store(workdir / "checkpoints")) as store:
        position = {"step": described["step"], "examples": 0, "seed": 0}
        store.save(described["step"], params, None, position, described["config"])


def _in_8_bits(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces large arrays by ``<name>/int8`` and ``<name>/scale``."""
    out: dict[str, Any] = {}
    for name, leaf in flat.items():
        if leaf.size < _LARGE:
            out[name] = leaf
        else:
            out[f"{name}/int8"], out[f"{name}/scale"] = quantize_array(np.asarray(leaf, np.float32), -1)
    return out


def _in_float32(flat: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Undoes ``_in_8_bits``, and reads every array in float32."""
    out: dict[str, np.ndarray] = {}
    for name, leaf in flat.items():
        x = np.asarray(leaf.read(), np.float32)
        if name.endswith("/int8"):
            out[name.removesuffix("/int8")] = x * flat[name.removesuffix("/int8") + "/scale"].read()
        elif not name.endswith("/scale") or name.removesuffix("/scale") + "/int8" not in flat:
            out[name] = x
    return out
