"""The ancestry of a model: ``ancestry.json`` in every working directory.

The record of a converted checkpoint lists its files with their SHA-256. The record of a training run holds its
configuration and the whole record of every run that it started from, so it survives their deletion. ``export`` copies
it into the model card.
"""

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

from hilight_jax.core import __version__
from hilight_jax.core.atomic_files import read_object, write_object
from hilight_jax.core.config import to_dict
from hilight_jax.core.distributed import library_versions
from hilight_jax.core.errors import CheckpointError
from hilight_jax.training.run_config import RunConfig

ANCESTRY = "ancestry.json"
# Keys of a config whose values are places, and those that name sources, ``KIND:PLACE[,OPTIONS]``.
_PLACES = {f"config.{key}" for key in ("data_dir", "data.quarantine", "data.tokenizer", "init_from.workdir", "profile")}
_PLACES |= {f"config.sources.{name}" for name in ("encoder", "long_clip", "language_model", "align")}
_SOURCES = {f"config.data.{split}" for split in ("train", "validation", "unseen")}


def read_ancestry(workdir: str | Path) -> dict[str, Any]:
    """The record of a working directory; empty for one without it."""
    path = Path(workdir) / ANCESTRY
    return read_object(path, CheckpointError, "restore it from a copy, or delete it") if path.is_file() else {}


def keep_ancestry(config: RunConfig, workdir: Path, command: str = "", num_clips: int | None = None) -> None:
    """Writes the record of a training run when it starts, by the first process.

    A run that goes on keeps its record, but for the command, which is that of the last start.

    Args:
      config: Of the run.
      workdir: Of the run.
      command: The command that trains such a run, see ``training_command``.
      num_clips: Clips, or conversations, that it trains on.
    """
    if jax.process_index():
        return
    how = {name: value for name, value in (("command", command), ("examples", num_clips)) if value}
    if (workdir / ANCESTRY).exists():
        record = read_ancestry(workdir)
        if record != record | how:
            write_object(workdir / ANCESTRY, record | how)
        return
    sources = {"init_from": config.init_from.workdir} if config.init_from else {}
    for name, value in to_dict(getattr(config, "sources", None) or {}).items():
        if value and name != "which":
            sources[name] = value
    parents = {name: {"workdir": source, **read_ancestry(source)} for name, source in sources.items()}
    trained = {"made_by": "train", "stage": config.stage, "preset": config.preset, "seed": config.seed, **how}
    write_object(workdir / ANCESTRY, {**trained, **made_with(), "started_from": parents})


def training_command(config: str, overrides: Iterable[str], data_dir: Path | None = None) -> str:
    """The command line that trains a run, to be published: places outside the current folder become their last part.

    Args:
      config: ``FILE.py[:ARGUMENT]``; of the project's own files the folder ``configs`` is kept.
      overrides: Options ``--config.KEY=VALUE``; the values of ``_PLACES`` and ``_SOURCES`` are places.
      data_dir: Of the run, if it is not the usual one.
    """
    file, colon, argument = config.partition(":")
    folder = "configs/" if Path(file).parent.name == "configs" else ""
    changes = [f"--data_dir={_shown(str(data_dir))}"] if data_dir is not None else []
    for change in overrides:
        key, equals, value = change.removeprefix("--").partition("=")
        if key in _PLACES:
            value = _shown(value)
        elif key in _SOURCES:
            value = _shown_source(value)
        changes.append(f"--{key}{equals}{value}")
    named = f"{folder}{Path(file).name}{colon}{argument}"
    return shlex.join(["python", "-m", "hilight_jax.train", "--config", named, *changes])


def _shown_source(source: str) -> str:
    """A source whose places are shown: of a stored dataset its name, version and split."""
    place, comma, options = source.partition(",")
    kind, colon, place = place.rpartition(":")
    is_split = re.search(r"/\d+\.\d+\.\d+/[^/]+$", place) is not None
    shown = ",".join(re.sub(r"(?<==)/.*/", "", option) for option in options.split(","))
    return f"{kind}{colon}{_shown(place, 3 if is_split else 1)}{comma}{shown}"


def _shown(place: str, parts: int = 1) -> str:
    """A place below the current folder as it is; of any other its last parts."""
    path = Path(place)
    return "/".join(path.parts[-parts:]) if path.is_absolute() or ".." in path.parts else place


def converted(kind: str, files: Iterable[Path], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a converted checkpoint."""
    listed = [{"path": str(path), "bytes": path.stat().st_size, "sha256": sha256(path)} for path in files]
    return {"made_by": "convert", "kind": kind, "files": listed, **facts, **made_with()}


def without_places(record: Any) -> Any:
    """Removes paths from a record, and the options of imports, for publication; names of files and runs stay."""
    if isinstance(record, list):
        return [without_places(item) for item in record]
    if not isinstance(record, Mapping):
        return record
    kept = {name: without_places(value) for name, value in record.items() if name != "options"}
    return kept | {name: Path(kept[name]).name for name in ("path", "workdir") if name in kept}


def made_with() -> dict[str, str]:
    """The versions of this package and its libraries."""
    return {"hilight_jax": __version__, "libraries": library_versions()}


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as model hubs give it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
