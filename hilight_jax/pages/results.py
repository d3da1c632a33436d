"""Reads the JSON files that other commands left behind: results of evaluations, configurations, control runs."""

from pathlib import Path
from typing import Any

from hilight_jax.core.errors import DataError
from hilight_jax.core.json_files import read_object


def read_result(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object; None when there is no such file.

    Raises:
      DataError: the file holds something else.
    """
    if not path.is_file():
        return None
    return read_object(path, DataError, "delete it and run the command that writes it again")
