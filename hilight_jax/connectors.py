"""The report's Figure 3: ``python -m hilight_jax.connectors``, or ``make connectors``.

Trains the stage align with each of the report's three connector structures, and with the released one whose expansion
is transposed, on the same towers and questions; every run is a working directory of its own under ``runs/connectors``.
Finished runs are kept, an interrupted one resumes. Draws the loss curves and the scores of the answers into
``index.html``, and writes the table to ``connectors.json`` and ``connectors.md``.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilight_jax.benchmarks.run_table import evaluation, parse_seeds, reason_not_run, run_modules
from hilight_jax.core import commands
from hilight_jax.pages.connector_page import markdown, write_page
from hilight_jax.pages.results import read_result
from hilight_jax.training.metrics import read_metrics

# Row of the table -> argument of configs/align.py.
ROWS = {
    "one cross attention, one linear map": "one_linear",
    "one cross attention, two linear maps": "two_linear",
    "dual projectors, as released": "dual_projector",
    "dual projectors, expansion transposed": "transposed",
}
SPLITS = ("validation",)


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, trains what is missing, writes page and tables after every run."""
    parser = argparse.ArgumentParser(
        prog="python -m hilight_jax.connectors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", default="configs/align.py:demo", help="config file and preset of the runs")
    parser.add_argument("--workdir", type=Path, default=Path("runs/connectors"), help="folder of all runs")
    parser.add_argument("--encoder", default="runs/encoder-demo", help="the encoder that all of them look through")
    parser.add_argument(
        "--long_clip", default="runs/long_clip-demo", help="the Long-CLIP that all of them look through"
    )
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="where generated worlds are kept")
    parser.add_argument("--seeds", default="0,1", help="comma-separated")
    parser.add_argument("--steps", type=int, help="steps of every run; default: those of the config")
    parser.add_argument("--table_only", action="store_true", help="train nothing; write what is there")
    parser.add_argument("--json", action="store_true", help="print the table as one JSON object on the last line")
    arguments = parser.parse_args(argv)
    seeds = parse_seeds(arguments.seeds)
    for seed in seeds:
        for name in ROWS if not arguments.table_only else ():
            if _reason(arguments, name, seed):
                sys.stderr.write(f"== {name}, seed {seed}\n")
                train(arguments, name, seed)
            write(arguments, seeds)
    table = write(arguments, seeds)
    print(markdown(table))
    print(f"page: {(arguments.workdir / 'index.html').resolve().as_uri()}")
    if arguments.json:
        commands.print_json(table)
    return 0


def train(arguments: argparse.Namespace, name: str, seed: int) -> None:
    """Trains and evaluates one cell.

    Raises:
      UserError: A process failed; what it said stands above.
    """
    workdir = str(run_dir(arguments, name, seed))
    place = ("--workdir", workdir, "--data_dir", str(arguments.data_dir))
    spec = f"{arguments.config},connector={ROWS[name]}"
    run_modules((
        ("hilight_jax.train", "--config", spec, *_overrides(arguments, seed), *place),
        ("hilight_jax.evaluate", "--checkpoint", workdir, "--split", *SPLITS),
    ))  # fmt: skip


def write(arguments: argparse.Namespace, seeds: Sequence[int]) -> dict[str, Any]:
    """Collects what has been run and writes page and tables."""
    root = arguments.workdir
    root.mkdir(parents=True, exist_ok=True)
    command = ["python", "-m", "hilight_jax.connectors"]
    for option in ("config", "workdir", "encoder", "data_dir", "seeds", "steps"):
        if (value := getattr(arguments, option)) is not None:
            command += [f"--{option}", str(value)]
    rows = [{"name": name, "runs": [figures(arguments, name, seed) for seed in seeds]} for name in ROWS]
    dates = [run["date"] for row in rows for run in row["runs"] if "date" in run]
    table = {"date": max(dates, default=None), "command": shlex.join(command), "rows": rows}
    (root / "connectors.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (root / "connectors.md").write_text(markdown(table), encoding="utf-8")
    curves = {
        f"{name}, seed {seed}": [
            (record["step"], record["next_token"])
            for record in read_metrics(run_dir(arguments, name, seed))
            if "next_token" in record
        ]
        for name in ROWS
        for seed in seeds
    }
    write_page(root / "index.html", table, curves)
    return table


def figures(arguments: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """The figures of one cell; what is missing has a reason."""
    if reason := _reason(arguments, name, seed):
        return {"seed": seed, "not_run": reason}
    workdir = run_dir(arguments, name, seed)
    result = read_result(evaluation(workdir, SPLITS[0]))
    losses = [record["validation/next_token"] for record in read_metrics(workdir) if "validation/next_token" in record]
    return {
        "seed": seed,
        "date": result["date"],
        "step": result["step"],
        "loss": losses[-1] if losses else None,
        "right": result["needs_video"]["normalised"],
        "controls": {control: result["needs_video"][control] for control in ("most_frequent", "other_clip")},
        "types": {kind: group["normalised"] for kind, group in result["types"].items()},
    }


def run_dir(arguments: argparse.Namespace, name: str, seed: int) -> Path:
    """Working directory of one cell."""
    return arguments.workdir / f"{ROWS[name]}-seed{seed}"


def _overrides(arguments: argparse.Namespace, seed: int) -> list[str]:
    values = {"seed": seed, "sources.encoder": arguments.encoder}
    if arguments.steps is not None:
        values["steps"] = arguments.steps
    return [f"--config.{key}={value}" for key, value in values.items()]


def _reason(arguments: argparse.Namespace, name: str, seed: int) -> str | None:
    spec = f"{arguments.config},connector={ROWS[name]}"
    return reason_not_run(spec, _overrides(arguments, seed), run_dir(arguments, name, seed), SPLITS)


if __name__ == "__main__":
    commands.run(main)
