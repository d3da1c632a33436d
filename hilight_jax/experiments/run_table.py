"""Tables of runs: every cell is a training run in a process of its own, kept once it is evaluated.

Finished runs may be published, see ``published.py``; they count as finished wherever they were made.
"""

import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import UserError
from hilight_jax.experiments.published import not_finite, plain, publish, published_run, read_published
from hilight_jax.pages.ablation_table import Layout, markdown, write_page
from hilight_jax.pages.report import points, read_result
from hilight_jax.runs.workdir import changed_keys
from hilight_jax.stages.load_config import load_config, with_defaults
from hilight_jax.training.metrics import read_metrics


class Before(NamedTuple):
    """A run that every cell makes for itself: its name among the sources of the next one, and its config."""

    name: str
    config: str
    evaluated: bool


class Run(NamedTuple):
    """A training run: its configuration, its working directory, and the options of each of its evaluations."""

    spec: str
    overrides: tuple[str, ...]
    workdir: Path
    evaluate: tuple[tuple[str, ...], ...]


class Cell(NamedTuple):
    """A row's configuration with one seed: its run, and those of other stages that are made for it, in their order."""

    row: str
    seed: int
    spec: str
    overrides: tuple[str, ...]
    workdir: Path
    before: tuple[Run, ...] = ()


@dataclasses.dataclass(frozen=True)
class RunTable:
    """The description of a table."""

    name: str  # Stem of its files, ``NAME.json`` and ``NAME.md``, and of its default folder, ``runs/NAME``.
    about: str  # One line of help.
    config: str  # Default config file, with the preset if ``spec`` names none.
    spec: str  # Format of a cell's ``--config`` with the fields ``config`` and ``argument``.
    rows: Mapping[str, str]  # Argument of the config by name of the row, in the order of training.
    splits: tuple[str, ...]  # Evaluations that a cell needs.
    figures: Callable[[Path], dict[str, Any]]  # Reads the figures of a finished run from its working directory.
    layout: Layout
    evaluate: tuple[tuple[str, ...], ...] = ((),)  # Options of each call of ``evaluate``.
    # Runs that the cells build on: default of ``config.sources.KEY`` by key; empty keeps the config's.
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    before: tuple[Before, ...] = ()  # Each builds on the one before it, and the cell's run on the last.
    before_row: Mapping[str, tuple[Before, ...]] = dataclasses.field(default_factory=dict)  # Of single rows, likewise.
    seeds: str = "0,1,2"  # Default.
    curve: str = ""  # Metric that ``index.html`` draws of every run; without one there is no page.

    def cells(self, config: str, root: Path, seeds: Sequence[int], overrides: Sequence[str] = ()) -> list[Cell]:
        """All cells in the order of training: every row with one seed before any row with the next."""
        cells = []
        for seed in seeds:
            for row, argument in self.rows.items():
                spec = self.spec.format(config=config, argument=argument)
                workdir = root / f"{_folder(argument)}-seed{seed}"
                seeded, before, source = (f"config.seed={seed}",), list[Run](), ()
                for name, first, evaluated in self._before(row):
                    place = workdir.with_name(f"{workdir.name}-{name}")
                    before.append(Run(first, (*seeded, *source), place, ((),) if evaluated else ()))
                    source = (f"config.sources.{name}={place}",)
                cells.append(Cell(row, seed, spec, (*seeded, *source, *overrides), workdir, tuple(before)))
        return cells

    def check_workdir(self, root: Path) -> None:
        """Checks that ``root`` is new, empty or a folder of this table.

        Raises:
          UserError: It is something else, such as the working directory of a training run.
        """
        advice = f"give --workdir a new or an empty folder, or that of this table, such as runs/{self.name}."
        if root.exists() and not root.is_dir():
            raise UserError(f"'{root}' is a file; {advice}")
        entries = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        if of_run := [name for name in ("config.json", "checkpoints") if name in entries]:
            raise UserError(f"'{root}' is the working directory of a training run: it holds {of_run[0]}; {advice}")
        known = (f"{self.name}.json", *(f"{_folder(argument)}-seed" for argument in self.rows.values()))
        if entries and not any(entry.startswith(known) for entry in entries):
            raise UserError(f"'{root}' holds '{entries[0]}' and no run of this table; {advice}")

    def reason_not_run(self, cell: Cell) -> str | None:
        """The reason why a cell has no figures, or None when it has.

        A run that another configuration made, as after a change of the presets, is not the cell's.
        """
        for run in (*cell.before, cell):
            own = read_result(run.workdir / "config.json")
            if own is None:
                return "not trained"
            if changed_keys(plain(with_defaults(own)), _as_json(run)):
                return "trained with another configuration than the row's"
        evaluated = [(cell, split) for split in self.splits]
        evaluated += [(run, split) for run in cell.before if run.evaluate for split in ("validation", "unseen")]
        for run, split in evaluated:
            result, steps = read_result(evaluation(run.workdir, split)), _as_json(run)["steps"]
            if result is None:
                return "not finished"
            if result.get("step") != steps:
                return f"evaluated at step {result.get('step')} of {steps}"
        return None

    def run_of(self, cell: Cell, published: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """The figures of a cell, from its working directory or as published, the later ones; or ``not_run``, why."""
        reason, known = self.reason_not_run(cell), published_run(published, cell.row, self.configs(cell), cell.seed)
        if reason is None:
            figures = {"seed": cell.seed, **self.figures(cell.workdir)}
            if name := not_finite(figures):
                reason = f"'{name}' is not finite"
            elif known is None or figures["date"] >= known["date"]:
                return figures
        return known or {"seed": cell.seed, "not_run": reason}

    def configs(self, cell: Cell) -> list[dict[str, Any]]:
        """The configurations of a cell's runs, as they are of every seed: with seed 0, and names of the runs before."""
        made = {before.name for before in self._before(cell.row)}
        found = []
        for run in (*cell.before, cell):
            config = {**_as_json(run), "seed": 0}
            if "sources" in config:
                config["sources"] = {name: name if name in made else x for name, x in config["sources"].items()}
            found.append(config)
        return found

    def train(self, cell: Cell, data_dir: Path, log: Path | None = None) -> None:
        """Trains and evaluates a cell and the runs before it, each in a process of its own.

        Args:
          cell: What to train.
          data_dir: Where generated worlds are kept.
          log: File that its messages are added to; None leaves them on stderr.

        Raises:
          UserError: A process failed; its messages are above or in ``log``.
        """
        last = Run(cell.spec, cell.overrides, cell.workdir, self.evaluate)
        for run in (*cell.before, last):
            overrides = [f"--{override}" for override in run.overrides]
            place = ["--workdir", str(run.workdir), "--data_dir", str(data_dir)]
            commands = [("hilight_jax.train", "--config", run.spec, *overrides, *place)]
            for options in run.evaluate:
                commands.append(("hilight_jax.evaluate", "--checkpoint", str(run.workdir), *options))
            for command in commands:
                _run(command, log)

    def write(
        self, root: Path, cells: Sequence[Cell], command: Callable[[Sequence[int]], str], published: Path | None = None
    ) -> dict[str, Any]:
        """Collects the figures of finished cells, writes the table and its page to ``root`` and returns the table.

        The date is that of the newest evaluation in it.

        Args:
          root: The folder of the table.
          cells: Those that the table shows.
          command: From seeds to the command that trains them.
          published: File of the published table, which the finished cells are added to.
        """
        known = None if published is None else read_published(published, self.name)
        rows = []
        for name in self.rows:
            of_row = [cell for cell in cells if cell.row == name]
            runs = [self.run_of(cell, known) for cell in of_row]
            rows.append({"name": name, "configs": self.configs(of_row[0]) if of_row else [], "runs": runs})
        dates = [run["date"] for row in rows for run in row["runs"] if "date" in run]
        seeds = sorted({cell.seed for cell in cells})
        shown = [{"name": row["name"], "runs": row["runs"]} for row in rows]
        table = {"date": max(dates, default=None), "command": command(seeds), "rows": shown}
        root.mkdir(parents=True, exist_ok=True)
        write_object(root / f"{self.name}.json", table)
        (root / f"{self.name}.md").write_text(markdown(self.layout, table), encoding="utf-8")
        if published is not None:
            publish(published, self.name, rows, command)
        if self.curve:
            curves = {f"{c.row}, seed {c.seed}": points(read_metrics(c.workdir), self.curve) for c in cells}
            write_page(root / "index.html", self.layout, table, curves)
        return table

    def _before(self, row: str) -> tuple[Before, ...]:
        return (*self.before, *self.before_row.get(row, ()))


def evaluation(workdir: Path, split: str) -> Path:
    """The file that ``evaluate`` writes for a split."""
    return workdir / "evaluations" / f"{split}.json"


def parse_seeds(text: str) -> list[int]:
    """Reads ``0,1``.

    Raises:
      UserError: It holds something else than whole numbers.
    """
    try:
        seeds = [int(seed) for seed in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds is '{text}', but must be whole numbers with commas, such as 0,1.") from error
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds is '{text}', but must name each seed once.")
    return seeds


def _as_json(run: Run | Cell) -> dict[str, Any]:
    """The configuration of a run as its file holds it."""
    return plain(to_dict(load_config(run.spec, run.overrides)))


def _folder(argument: str) -> str:
    return argument.replace(",", "-").replace("=", "")


def _run(module: Sequence[str], log: Path | None) -> None:
    """Runs a module in a process of its own, which ends with this one."""
    with contextlib.ExitStack() as stack:
        messages = None if log is None else stack.enter_context(log.open("a", encoding="utf-8"))
        process = subprocess.Popen([sys.executable, "-m", *module], stdout=subprocess.DEVNULL, stderr=messages)
        try:
            failed = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if failed:
        where = "" if log is None else f"; its messages are in {log}"
        command = f"'python -m {' '.join(module)}'"
        raise UserError(f"{command} failed{where}. Mend what it says, then start this command again to go on.")
