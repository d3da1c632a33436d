"""Writes the report page of a run: ``python -m hilight_jax.report runs/encoder-demo``.

The page shows what is there: metrics, the results of ``evaluate`` and example clips. An encoder's examples are drawn
from ``--data`` by its checkpoint, and its control runs stand beside; a chat model's are the clips and answers of its
first evaluation, or of that of ``--data``. Where the clips are gone, the page has none.
"""

import ast
import functools
import json
from pathlib import Path
from typing import Any

from hilight_jax.core import commands
from hilight_jax.core.config import differences, to_dict
from hilight_jax.core.errors import CheckpointError, ConfigError
from hilight_jax.formats.exporting.packed import find_run
from hilight_jax.pages.report import read_result
from hilight_jax.runs.workdir import read_stage
from hilight_jax.stages.load_config import build_run, load_config
from hilight_jax.stages.stage import PageRequest
from hilight_jax.stages.table import STAGES

# The user's own control runs before the ones that come with the project.
CONTROLS = (Path("runs/controls/controls.json"), Path("docs/data/controls.json"))


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, draws the examples and writes the page."""
    parser = commands.parser("report", __doc__)
    add = parser.add_argument
    add("workdir", type=Path, help="working directory of a run")
    add("--which", choices=("best", "latest"), default="latest", help="checkpoint that draws the examples")
    add("--data", help="source of the example clips; default: the run's validation clips")
    add("--num_clips", type=int, default=6, help="how many example clips")
    add("--controls", type=Path, help="table of the control runs; default: runs/controls/controls.json, else "
        "docs/data/controls.json")  # fmt: skip
    arguments = parser.parse_args(argv)
    arguments.workdir = find_run(arguments.workdir)
    stage = read_stage(arguments.workdir)
    write_page = STAGES[stage].page if stage in STAGES else None
    if write_page is None:
        raise CheckpointError(f"'{arguments.workdir}' is a run of the stage '{stage}', which has no page.")
    request = PageRequest(
        which=arguments.which,
        data=arguments.data,
        num_clips=arguments.num_clips,
        controls=(arguments.controls,) if arguments.controls else CONTROLS,
        overrides=overrides(arguments.workdir),
    )
    page, num_examples = write_page(arguments.workdir, request)
    print(f"report: {page.resolve().as_uri()}")
    if arguments.json:
        commands.print_json({"page": str(page), "examples": num_examples})
    return 0


def overrides(workdir: Path) -> list[str] | None:
    """The options that turn the configuration of a run's preset into that of the run.

    None when the preset is not one of its stage's file in ``configs/``: the run had a config file of its own.
    """
    config = read_result(workdir / "config.json") or {}
    try:
        file = f"configs/{config.get('stage', 'encoder')}.py"
        preset = load_config(f"{file}:{config['preset']}") if config.get("preset") else None
    except ConfigError:
        return None
    if preset is None:
        return None
    # Both whole, and through JSON as the run's own went.
    own, preset = (json.loads(json.dumps(to_dict(each))) for each in (build_run(config), preset))
    return [_option(line.partition(": ")[0], own) for line in differences(preset, own)]


def _option(key: str, config: dict[str, Any]) -> str:
    """``--config.seed=1`` for the key ``config.seed``."""
    value = functools.reduce(lambda group, name: (group or {}).get(name), key.split(".")[1:], config)
    return f"--{key}={value if isinstance(value, str) and not _is_literal(value) else repr(value)}"


def _is_literal(value: str) -> bool:
    """Returns True for text that the command line would read as something other than a string."""
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value.lower() in ("true", "false", "null")
    return True


if __name__ == "__main__":
    commands.run(main)
