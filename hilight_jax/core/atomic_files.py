"""The JSON files that a command leaves behind: written in one piece, read with a sentence about what is wrong."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilight_jax.core.errors import UserError


def read_object(path: Path, error: type[UserError], advice: str) -> dict[str, Any]:
    """Reads a file that holds one JSON object.

    Raises:
      UserError: An ``error`` that names the file and ends in ``advice``, when the file holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise error(f"{path} is not JSON ({fault}); {advice}.") from fault
    if not isinstance(values, dict):
        raise error(f"{path} holds no JSON object; {advice}.")
    return values


def write_object(path: Path, values: Mapping[str, Any]) -> None:
    """Writes one JSON object; whoever reads meanwhile finds the former file or this one, whole."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(values, indent=2) + "\n")
    os.replace(partial, path)
