"""What every command shares: one sentence instead of a traceback, and one JSON object as the last line."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hilight_jax.core.errors import UserError


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's ``main`` and exits: 0 or its result, 2 for a mistake of the user's, 130 for Ctrl-C."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # Libraries' remarks on their own defaults.
    try:
        code = main() or 0
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        code = 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped by Ctrl-C.\n")
        code = 130
    sys.exit(code)


def print_json(result: Mapping[str, Any]) -> None:
    """Prints ``result`` as one line of JSON on stdout; call it last."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
