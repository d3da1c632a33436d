"""Reads the JSON files that other commands left behind: results of evaluations, configurations, control runs."""

from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import read_object
from hilight_jax.core.errors import CheckpointError, DataError


def read_result(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object; None when there is no such file.

    Raises:
      DataError: the file holds something else.
    """
    if not path.is_file():
        return None
    return read_object(path, DataError, "delete it and run the command that writes it again")


def read_stage(workdir: Path) -> str:
    """The stage of a run: 'encoder' where no configuration says otherwise.

    Raises:
      CheckpointError: `config.json` is damaged.
    """
    path = workdir / "config.json"
    if not path.is_file():
        return "encoder"
    return read_object(path, CheckpointError, "restore it, or choose another workdir").get("stage", "encoder")
