"""A working directory and its ``config.json``: read, written, compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax

from hilight_jax.core.atomic_files import read_object, write_object
from hilight_jax.core.config import build, differences, to_dict
from hilight_jax.core.errors import CheckpointError
from hilight_jax.training.run_config import FREE_KEYS

CONFIG = "config.json"
_ADVICE = "restore it, or choose another workdir"

C = TypeVar("C")


def read_values(workdir: str | Path) -> dict[str, Any]:
    """Reads the configuration of a run as it was written.

    Raises:
      CheckpointError: There is none, or it is damaged.
    """
    path = Path(workdir) / CONFIG
    if not path.is_file():
        if not path.parent.exists():
            raise CheckpointError(
                f"'{workdir}' is not a working directory: it does not exist; correct the path, or train the run first."
            )
        raise CheckpointError(f"'{workdir}' is not a working directory: it has no {CONFIG}.")
    return read_object(path, CheckpointError, _ADVICE)


def stage_of(values: Mapping[str, Any]) -> str:
    """Returns the stage that a configuration names; one that names none is the encoder's."""
    return values.get("stage", "encoder")


def read_stage(workdir: str | Path) -> str:
    """Returns the stage of a run; a directory without a configuration counts as the encoder's.

    Raises:
      CheckpointError: ``config.json`` is damaged.
    """
    path = Path(workdir) / CONFIG
    return stage_of(read_object(path, CheckpointError, _ADVICE) if path.is_file() else {})


def read_config_as(config: type[C], workdir: str | Path) -> C:
    """Reads the configuration of a run whose stage is known, its sources ready to open.

    Raises:
      CheckpointError: There is none, or it is damaged.
      ConfigError: It is the configuration of another stage.
    """
    run: Any = build(config, read_values(workdir))
    return run.with_sources()


def write_config(workdir: Path, config: Any) -> None:
    """Writes ``config.json`` in one piece, by the first process.

    Raises:
      CheckpointError: The workdir cannot be written.
    """
    if jax.process_index():
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_object(workdir / CONFIG, to_dict(config))
    except OSError as error:
        raise CheckpointError(f"the workdir {workdir} cannot be written: {error.strerror}.") from error


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Lists, as ``differences`` does, the keys that differ and may not differ when a run is resumed."""
    lines = differences(old, new)
    return [line for line in lines if not line.removeprefix("config.").startswith(FREE_KEYS)]
