"""Reads the JSON files that other commands left behind: results of evaluations, configurations, control runs."""

import json
from pathlib import Path
from typing import Any

from hilight_jax.core.errors import DataError


def read_result(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object; None when there is no such file.

    Raises:
      DataError: the file holds something else.
    """
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); delete it and run the command that writes it again.") from error
    if not isinstance(result, dict):
        raise DataError(f"{path} holds no JSON object; delete it and run the command that writes it again.")
    return result
