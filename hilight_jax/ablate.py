"""Trains tables of runs, and writes what they show: ``python -m hilight_jax.ablate TABLE``.

demo        all stages of ``make demo`` with several seeds (``make seeds``)
losses      the demo's encoder under every other local loss (``make controls``)
medium      a larger encoder under three of the losses
connectors  align with every connector: the HiLight paper's (arXiv 2407.07325) Figure 3, options of the released
            structure, and pooling on a grid (``make connectors``)
maps        trains nothing: keeps the maps of a word over one held-out clip, by every finished run of losses
results     trains nothing: writes the pages of results, with the claims of the report and of this project, their
            verdicts and charts, from what is published in docs/data (``make results``)

Every run has a working directory of its own in ``--workdir``. Finished runs are kept and an interrupted one resumes, so
the command may be stopped and started at will. Every row is trained with one seed before any row with the next. After
each run the table is written anew, as JSON and as Markdown, that of the connectors with a page of loss curves; a cell
that was not run is shown as not run. All figures are those of the last checkpoint.

Small runs do not fill a processor's cores: --at_once 2 on two cores takes two thirds of the time.
"""

import argparse
import functools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hilight_jax.core import commands
from hilight_jax.core.errors import UserError
from hilight_jax.experiments.ablations import TABLES
from hilight_jax.experiments.published import check_place, read_published
from hilight_jax.experiments.results_page import DATA, MAPS, write_results
from hilight_jax.experiments.run_table import parse_seeds
from hilight_jax.experiments.side_by_side import train_side_by_side
from hilight_jax.experiments.word_map_grid import collect_maps, read_maps, save_maps
from hilight_jax.pages.ablation_table import markdown
from hilight_jax.stages.load_config import load_config


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, then trains a table, keeps its maps or writes the pages of results."""
    arguments = _parser().parse_args(argv)
    if arguments.table == "results":
        print("\n".join(write_results(arguments.root)))
    elif arguments.table == "maps":
        keep_maps(arguments)
    else:
        train_table(arguments)
    return 0


def keep_maps(arguments: argparse.Namespace) -> None:
    """Keeps the maps of the finished runs of the table of losses with one seed.

    Raises:
      UserError: None is finished.
    """
    table = TABLES["losses"]
    cells = table.cells(table.config, arguments.workdir, [arguments.seed])
    workdirs = {cell.row: cell.workdir for cell in cells if table.reason_not_run(cell) is None}
    if not workdirs:
        raise UserError(
            f"'{arguments.workdir}' has no finished run with seed {arguments.seed}; make them with: python -m "
            f"hilight_jax.ablate losses --workdir {arguments.workdir}"
        )
    if missing := [cell.row for cell in cells if cell.row not in workdirs]:
        sys.stderr.write(f"not finished, and left out: {'; '.join(missing)}\n")
    lost = set(read_maps(arguments.to).rows) - set(workdirs) if arguments.to.is_file() else set()
    if lost:
        raise UserError(
            f"'{arguments.to}' has the maps of {len(lost)} rows that are not finished here, such as "
            f"'{min(lost)}'; train them, name another file with --to, or take that file away."
        )
    source = load_config(cells[0].spec, cells[0].overrides).data.validation.format(data_dir=arguments.data_dir)
    maps = collect_maps(workdirs, source)
    save_maps(maps, arguments.to)
    print(f"'{maps.word}' by {len(maps.rows)} encoders: {arguments.to}")


def train_table(arguments: argparse.Namespace) -> None:
    """Trains missing runs, writes the table after every run.

    Raises:
      UserError: An option fits nothing, or a run failed.
    """
    table, root = TABLES[arguments.table], arguments.workdir
    chosen = [row for row in table.rows if not arguments.only or any(text in row for text in arguments.only)]
    if not chosen:
        raise UserError(f"--only {' '.join(arguments.only)} fits no row; rows: {'; '.join(table.rows)}.")
    options = [*table.sources, *(() if table.before else ("steps",))]
    overrides = {f"sources.{name}": getattr(arguments, name) for name in table.sources}
    overrides |= {"steps": arguments.steps} if "steps" in options else {}
    overrides = [f"config.{key}={value}" for key, value in overrides.items() if value not in (None, "")]
    cells = table.cells(arguments.config, root, parse_seeds(arguments.seeds), overrides)
    table.check_workdir(root)
    settings = [(name, getattr(arguments, name)) for name in ("config", *options)]
    settings = [word for name, value in settings if value not in (None, "") for word in (f"--{name}", str(value))]

    def command(seeds: Sequence[int]) -> str:
        numbers = ["--seeds", ",".join(map(str, seeds))]
        return shlex.join(["python", "-m", "hilight_jax.ablate", arguments.table, *settings, *numbers])

    published, known = arguments.publish, None
    if published is not None:
        check_place(published, table.name, {cell.row: table.configs(cell) for cell in cells})
        known = read_published(published, table.name)
    missing = [cell for cell in cells if cell.row in chosen and "not_run" in table.run_of(cell, known)]
    write = functools.partial(table.write, root, cells, command, published)
    if arguments.at_once is not None and not arguments.table_only:
        train_side_by_side(table, missing, arguments.data_dir, arguments.at_once, write)
    elif not arguments.table_only:
        for cell in missing:
            sys.stderr.write(f"== {cell.row}, seed {cell.seed}\n")
            table.train(cell, arguments.data_dir)
            write()
    result = write()
    print(markdown(table.layout, result))
    if table.curve:
        print(f"page: {(root / 'index.html').resolve().as_uri()}")
    if arguments.json:
        commands.print_json(result)


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = commands.parser("ablate", __doc__, json_help="")
    parts = parser.add_subparsers(dest="table", required=True, metavar="|".join((*TABLES, "maps", "results")))
    for name, table in TABLES.items():
        add = parts.add_parser(name, help=table.about, description=__doc__, formatter_class=formatter).add_argument
        workdir = Path("runs") / table.name
        add("--config", default=table.config, help=f"config file of the runs (default: {table.config})")
        add("--workdir", type=Path, default=workdir, help=f"folder of all runs of the table (default: {workdir})")
        add("--data_dir", type=Path, default=Path("data"), help="where generated worlds are kept (default: data)")
        add("--seeds", default=table.seeds, help=f"comma-separated (default: {table.seeds})")
        for source, default in table.sources.items():
            what = f"run whose {source} all of them use (default: {default or 'that of the config'})"
            add(f"--{source}", default=default, help=what)
        if not table.before:  # Their stages have steps of their own.
            add("--steps", type=int, help="steps of every run (default: those of the config)")
        add("--only", action="append", default=[], metavar="TEXT", help="only rows whose name holds TEXT")
        add("--at_once", type=int, metavar="RUNS", help="train so many side by side, each on cores of its own (Linux)")
        add("--publish", type=Path, metavar="FILE", help="JSON file that finished runs are added to; those in it count "
            "as finished, so that a table grows over several machines")  # fmt: skip
        add("--table_only", action="store_true", help="train nothing; write the table of finished runs")
        add("--json", action="store_true", help=commands.JSON_HELP)
    about = "the maps of a word over one held-out clip, by every finished run of losses; trains nothing"
    add = parts.add_parser("maps", help=about, description=f"Keeps {about}.", formatter_class=formatter).add_argument
    workdir, to = Path("runs") / TABLES["losses"].name, Path(DATA) / f"{MAPS}.npz"
    add("--workdir", type=Path, default=workdir, help=f"folder of the runs (default: {workdir})")
    add("--data_dir", type=Path, default=Path("data"), help="where generated worlds are kept (default: data)")
    add("--seed", type=int, default=0, help="seed of the runs (default: 0)")
    add("--to", type=Path, default=to, help=f"file that they are written to (default: {to})")
    about = "the pages of results, from published tables; trains nothing"
    add = parts.add_parser(
        "results", help=about, description=f"Writes {about}.", formatter_class=formatter
    ).add_argument
    add("--root", type=Path, default=Path(), help="the project: its README.md and docs/ (default: where you are)")
    return parser


if __name__ == "__main__":
    commands.run(main)
