"""The frame of every command: an error is one sentence, and ``--json`` prints one object as the last line."""

import argparse
import io
import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hilight_jax.core.errors import Interrupted, UserError

EXIT_INTERRUPTED = 75  # EX_TEMPFAIL: the state is saved, start the same command again.
JSON_HELP = "print the result as one JSON object on the last line"


def parser(verb: str, description: str, json_help: str = JSON_HELP, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of ``python -m hilight_jax.VERB``, with ``--json`` unless its help is empty."""
    made = argparse.ArgumentParser(
        f"python -m hilight_jax.{verb}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if json_help:
        made.add_argument("--json", action="store_true", help=json_help)
    return made


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's ``main`` and exits: 0 or its result, 2 for an error that the user can mend, 130 for Ctrl-C.

    A run that was asked to stop and has saved its state exits with 75: the same command resumes it. An ``OSError``,
    such as a full disk, is one sentence too. Characters outside the terminal's encoding are printed as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Libraries log warnings and tracebacks of their own.
    try:
        code = main() or 0
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {place}{error.strerror or error}. Mend this and start the same command again.\n")
        code = 2
    except Interrupted as interruption:
        sys.stderr.write(f"{interruption}\n")
        code = EXIT_INTERRUPTED
    except KeyboardInterrupt:
        sys.stderr.write("stopped by Ctrl-C.\n")
        code = 130
    sys.exit(code)


def print_json(result: Mapping[str, Any]) -> None:
    """Prints ``result`` as one line of JSON on stdout; call it last."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
