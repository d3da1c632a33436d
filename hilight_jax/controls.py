"""Trains the demo under every other local loss: ``python -m hilight_jax.controls``, or ``make controls``.

Every run is a working directory of its own under ``runs/controls``; finished ones are kept, an interrupted one resumes,
so the command may be stopped and started at will. Every row is trained with one seed before any with the next. After
each run the table is written anew, to ``controls.json`` (which the report page shows) and as Markdown (which the README
shows); a cell that was not run says so. All figures are those of the last checkpoint.
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
from hilight_jax.core.errors import UserError
from hilight_jax.evals.evaluation import headline
from hilight_jax.pages.control_table import markdown
from hilight_jax.pages.results import read_result

# Row of the table -> argument of configs/encoder.py. The most informative come first, for seed by seed they are trained
# in this order. A row of the demo differs from the first of them in one thing.
ROWS = {
    "no local loss": "demo,setting=0",
    "the demo: across clips, one query per object": "demo",
    "both contrasts, SPARC at a quarter": "demo,contrast=both",
    "SPARC (within clip), the demo's heads": "demo,contrast=within_clip",
    "SPARC as published, last block, content (setting 2)": "demo,setting=2",
    "the demo, one query per token": "demo,queries=tokens",
    "the demo, same objects not excluded": "demo,exclude=none",
    "the demo, embeddings only": "demo,levels=embedding",
    "the demo, last block only": "demo,levels=last",
    "SPARC as published, embeddings, content (setting 3)": "demo,setting=3",
    "SPARC as published, every block, content (setting 4)": "demo,setting=4",
    "SPARC as published, last block, none (setting 1)": "demo,setting=1",
    "SPARC, last block, padding": "demo,setting=2,mask=padding",
    "SPARC, embeddings, padding": "demo,setting=3,mask=padding",
    "SPARC, every block, padding": "demo,setting=4,mask=padding",
    "SPARC, embeddings, none": "demo,setting=3,mask=none",
    "SPARC, every block, none": "demo,setting=4,mask=none",
}
SPLITS = ("validation", "unseen")


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, trains what is missing, writes the table after every run."""
    parser = argparse.ArgumentParser(
        prog="python -m hilight_jax.controls",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", default="configs/encoder.py", help="config file whose presets are trained")
    parser.add_argument("--workdir", type=Path, default=Path("runs/controls"), help="folder of all control runs")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="where generated worlds are kept")
    parser.add_argument("--seeds", default="0,1", help="comma-separated")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only rows whose name holds TEXT")
    parser.add_argument("--table_only", action="store_true", help="train nothing; write the table of what is there")
    parser.add_argument("--json", action="store_true", help="print the table as one JSON object on the last line")
    arguments = parser.parse_args(argv)
    seeds = parse_seeds(arguments.seeds)
    chosen = [name for name in ROWS if not arguments.only or any(text in name for text in arguments.only)]
    if not chosen:
        raise UserError(f"--only {' '.join(arguments.only)} fits no row; rows: {'; '.join(ROWS)}.")
    for seed in seeds:
        for name in chosen if not arguments.table_only else ():
            workdir = run_dir(arguments.workdir, name, seed)
            if cell_reason(arguments.config, name, seed, workdir):
                train(arguments.config, name, seed, workdir, arguments.data_dir)
            write_table(arguments, seeds)
    table = write_table(arguments, seeds)
    print(markdown(table))
    if arguments.json:
        commands.print_json(table)
    return 0


def run_dir(root: Path, name: str, seed: int) -> Path:
    """Working directory of one cell."""
    return root / f"{ROWS[name].replace(',', '-').replace('=', '')}-seed{seed}"


def train(config: str, name: str, seed: int, workdir: Path, data_dir: Path) -> None:
    """Trains and evaluates one cell, each in a process of its own.

    Raises:
      UserError: A process failed; what it said stands above.
    """
    sys.stderr.write(f"== {name}, seed {seed}\n")
    where = ("--workdir", str(workdir), "--data_dir", str(data_dir))
    run_modules(
        (
            ("hilight_jax.train", "--config", f"{config}:{ROWS[name]}", f"--config.seed={seed}", *where),
            ("hilight_jax.evaluate", "--checkpoint", str(workdir), "--which", "latest"),
        )
    )


def write_table(arguments: argparse.Namespace, seeds: Sequence[int]) -> dict[str, Any]:
    """Collects what has been run and writes ``controls.json`` and ``controls.md`` into the working directory.

    The date is that of the newest evaluation in it; the command is the one that trains all of it.
    """
    root = arguments.workdir
    root.mkdir(parents=True, exist_ok=True)
    cells = {
        name: [figures(arguments.config, name, seed, run_dir(root, name, seed)) for seed in seeds] for name in ROWS
    }
    command = ["python", "-m", "hilight_jax.controls"]
    for option in ("config", "workdir", "data_dir", "seeds"):
        command += [f"--{option}", str(getattr(arguments, option))]
    table = {
        "date": max((run["date"] for runs in cells.values() for run in runs if "date" in run), default=None),
        "command": shlex.join(command),
        "rows": [{"name": name, "runs": runs} for name, runs in cells.items()],
    }
    (root / "controls.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (root / "controls.md").write_text(markdown(table), encoding="utf-8")
    return table


def figures(config: str, name: str, seed: int, workdir: Path) -> dict[str, Any]:
    """The figures of one cell, with the date and the step of its evaluations; what is missing has a reason."""
    if reason := cell_reason(config, name, seed, workdir):
        return {"seed": seed, "not_run": reason}
    found: dict[str, Any] = {"seed": seed}
    for split in SPLITS:
        result = read_result(evaluation(workdir, split))
        found |= headline(result, split)
        found |= {"step": result.get("step"), "date": max(result["date"], found.get("date", ""))}
        if "ball" not in result["grounding"]["classes"]:
            found["not_run"] = f"pointing, for no caption of {result['source']} names an object ball in view"
    return found


def cell_reason(config: str, name: str, seed: int, workdir: Path) -> str | None:
    """Why a cell has no figures, or None when it has."""
    return reason_not_run(f"{config}:{ROWS[name]}", [f"config.seed={seed}"], workdir, SPLITS)


if __name__ == "__main__":
    commands.run(main)
