"""Tables of runs: every cell a run of its own in a process of its own, kept once it is done."""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hilight_jax.core.config import differences, to_dict
from hilight_jax.core.errors import UserError
from hilight_jax.pages.results import read_result
from hilight_jax.stages.load_config import load_config
from hilight_jax.training.run_config import FREE_KEYS


def run_modules(steps: Iterable[Sequence[str]]) -> None:
    """Runs ``python -m`` with each of these argument lists, one after the other.

    Raises:
      UserError: A process failed; what it said stands above.
    """
    for step in steps:
        if subprocess.run([sys.executable, "-m", *step], stdout=subprocess.DEVNULL, check=False).returncode:
            raise UserError(f"'python -m {' '.join(step)}' failed; start the same command again to go on from here.")


def reason_not_run(spec: str, overrides: Sequence[str], workdir: Path, splits: Sequence[str]) -> str | None:
    """Why a cell has no figures, or None when it has.

    A run that another configuration made, as after a change of the presets, is not the cell's.

    Args:
      spec: ``FILE.py:PRESET`` of the cell.
      overrides: ``--config.key=value`` on top of it.
      workdir: Its working directory.
      splits: The evaluations that it needs.
    """
    own = read_result(workdir / "config.json")
    if own is None:
        return "not trained"
    if not all(evaluation(workdir, split).is_file() for split in splits):
        return "not finished"
    changed = differences(own, json.loads(json.dumps(to_dict(load_config(spec, overrides)))))
    if any(not line.removeprefix("config.").startswith(FREE_KEYS) for line in changed):
        return "trained with another configuration than the row's"
    return None


def evaluation(workdir: Path, split: str) -> Path:
    """Where ``evaluate`` puts the result of a split."""
    return workdir / "evaluations" / f"{split}.json"


def parse_seeds(text: str) -> list[int]:
    """Reads ``0,1``.

    Raises:
      UserError: It holds something else than whole numbers.
    """
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds is '{text}', but must be whole numbers with commas, such as 0,1.") from error
