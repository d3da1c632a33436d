"""Reading the JSON files that a command left behind."""

import json
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
