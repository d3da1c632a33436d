"""The ancestry of a model: ``ancestry.json`` in every working directory.

The record of a converted checkpoint lists its files with their SHA-256. The record of a training run holds its
configuration and the whole record of every run that it started from, so it survives their deletion. ``export`` copies
it into the model card.
"""

import hashlib
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
# Options whose values are places.
_PLACES = ("--config.sources.", "--config.data.", "--config.init_from", "--config.profile")


def read_ancestry(workdir: str | Path) -> dict[str, Any]:
    """The record of a working directory; empty for one without it."""
    path = Path(workdir) / ANCESTRY
    return read_object(path, CheckpointError, "restore it from a copy, or delete it") if path.is_file() else {}


def keep_ancestry(config: RunConfig, workdir: Path, command: str = "") -> None:
    """Writes the record of a training run when it starts, by the first process.

    Args:
      config: Of the run.
      workdir: Of the run.
      command: The command that trains such a run, without places of this machine, see ``training_command``.
    """
    if jax.process_index() or (workdir / ANCESTRY).exists():
        return
    sources = {"init_from": config.init_from.workdir} if config.init_from else {}
    for name, value in to_dict(getattr(config, "sources", None) or {}).items():
        if value and name != "which":
            sources[name] = value
    parents = {name: {"workdir": source, **read_ancestry(source)} for name, source in sources.items()}
    trained = {"made_by": "train", "stage": config.stage, "preset": config.preset, "seed": config.seed}
    trained |= {"command": command} if command else {}
    write_object(workdir / ANCESTRY, {**trained, **made_with(), "started_from": parents})


def training_command(config: str, overrides: Iterable[str], data_dir: Path | None = None) -> str:
    """The command line that trains a run, to be published: places of this machine become names.

    Args:
      config: ``FILE.py[:ARGUMENT]``, of which the file and its folder are kept.
      overrides: Options ``--config.KEY=VALUE``; of those of ``_PLACES`` the value becomes its last part.
      data_dir: Of the run, if it is not the usual one.
    """
    file, colon, argument = config.partition(":")
    named = "/".join(filter(None, (Path(file).parent.name, Path(file).name)))
    changes = [f"--data_dir={data_dir.name}"] if data_dir is not None else []
    for change in overrides:
        key, equals, value = change.partition("=")
        changes.append(f"{key}={Path(value).name}" if equals and key.startswith(_PLACES) else change)
    return shlex.join(["python", "-m", "hilight_jax.train", "--config", f"{named}{colon}{argument}", *changes])


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
