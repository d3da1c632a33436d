"""Trains the demo under every other local loss: ``python -m hilight_jax.controls``, or ``make controls``.

Every run is a working directory of its own under ``runs/controls``; finished ones are kept, an interrupted one resumes,
so the command may be stopped and started at will. After each run the table is written anew, to ``controls.json`` (which
the report page shows) and as Markdown (which the README shows); a cell that was not run says so.
"""

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilight_jax.core import commands
from hilight_jax.core.errors import UserError

# Row of the table -> argument of configs/encoder.py.
ROWS = {
    "no local loss": "demo,setting=0",
    "across clips, embeddings + last block, content": "demo",
    "across clips, embeddings + last block, content, same objects kept apart": "demo,exclude=same_objects",
    "across clips, embeddings, content": "demo,levels=embedding",
    "across clips, last block, content": "demo,levels=last",
    "across clips, embeddings + last block, padding": "demo,mask=padding",
    "SPARC, last block, content (setting 2)": "demo,setting=2",
    "SPARC, embeddings, content (setting 3)": "demo,setting=3",
    "SPARC, every block, content (setting 4)": "demo,setting=4",
    "SPARC, last block, none (setting 1)": "demo,setting=1",
    "SPARC, last block, padding": "demo,setting=2,mask=padding",
    "SPARC, embeddings, padding": "demo,setting=3,mask=padding",
    "SPARC, every block, padding": "demo,setting=4,mask=padding",
    "SPARC, embeddings, none": "demo,setting=3,mask=none",
    "SPARC, every block, none": "demo,setting=4,mask=none",
}
COLUMNS = {
    "validation/text_to_video_r1": "R@1",
    "validation/text_to_video_r5": "R@5",
    "validation/ball_pointing": "pointing",
    "validation/ball_any_ball": "on any ball",
    "validation/ball_random_ball": "random ball",
    "validation/ball_area_chance": "random patch",
    "unseen/text_to_video_r1": "unseen R@1",
    "unseen/ball_pointing": "unseen pointing",
}


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
    try:
        seeds = [int(seed) for seed in arguments.seeds.split(",")]
    except ValueError as error:
        raise UserError(
            f"--seeds is '{arguments.seeds}', but must be whole numbers with commas, such as 0,1."
        ) from error
    chosen = [name for name in ROWS if not arguments.only or any(text in name for text in arguments.only)]
    if not chosen:
        raise UserError(f"--only {' '.join(arguments.only)} fits no row; rows: {'; '.join(ROWS)}.")
    for seed in seeds:
        for name in chosen if not arguments.table_only else ():
            workdir = run_dir(arguments.workdir, name, seed)
            if not (workdir / "evaluations" / "unseen.json").exists():
                train(arguments.config, name, seed, workdir, arguments.data_dir)
            write_table(arguments.workdir, seeds)
    table = write_table(arguments.workdir, seeds)
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
    python = [sys.executable, "-m"]
    steps: Sequence[Sequence[str]] = (
        ["hilight_jax.train", "--config", f"{config}:{ROWS[name]}", f"--config.seed={seed}", "--workdir", str(workdir),
         "--data_dir", str(data_dir)],
        ["hilight_jax.evaluate", "--checkpoint", str(workdir), "--which", "latest"],
    )  # fmt: skip
    for step in steps:
        if subprocess.run([*python, *step], stdout=subprocess.DEVNULL, check=False).returncode:
            raise UserError(f"'python -m {' '.join(step)}' failed; start the same command again to go on from here.")


def write_table(root: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Collects what has been run and writes ``controls.json`` and ``controls.md`` below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    rows = [{"name": name, "runs": [figures(run_dir(root, name, seed), seed) for seed in seeds]} for name in ROWS]
    table = {"date": f"{datetime.date.today()}", "command": "make controls", "rows": rows}
    (root / "controls.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (root / "controls.md").write_text(markdown(table), encoding="utf-8")
    return table


def figures(workdir: Path, seed: int) -> dict[str, float] | None:
    """The figures of one cell, or None when it was not run."""
    found: dict[str, float] = {"seed": seed}
    for split in ("validation", "unseen"):
        path = workdir / "evaluations" / f"{split}.json"
        if not path.exists():
            return None
        result = json.loads(path.read_text(encoding="utf-8"))
        ranks, ball = result["retrieval"]["plain"]["text_to_video"], result["grounding"]["classes"]["ball"]
        found |= {f"{split}/text_to_video_r{k}": ranks[f"R@{k}"] for k in (1, 5, 10)}
        found |= {f"{split}/ball_{name}": value for name, value in ball.items() if isinstance(value, float)}
    return found


def markdown(table: dict[str, Any]) -> str:
    """The table as Markdown, one figure per seed."""
    lines = [f"Made {table['date']} with `{table['command']}`; figures of the seeds side by side.", ""]
    lines += [f"| local loss | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in table["rows"]:
        cells = [" ".join(f"{run[key]:.2f}" if run else "not run" for run in row["runs"]) for key in COLUMNS]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    commands.run(main)
