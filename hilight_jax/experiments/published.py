"""Published tables of runs: JSON files such as ``docs/data/connectors.json``, which grow over several machines.

```
{"table": "connectors", "date": "2026-12-01 14:05", "command": "python -m hilight_jax.ablate connectors --seeds 0,1",
 "rows": [{"name": "dual projectors, as released", "configs": [{...}], "runs": [{"seed": 0, "right": 0.4, ...}]}]}
```

``configs`` are those of the row's runs, without what differs between its seeds; a run counts as finished as long as
they are the same. What is published is not taken out again: where a row is configured otherwise now, the file is
refused, and of two evaluations of one run the later one stays.
"""

import contextlib
import fcntl
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import read_object, write_bytes
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.runs.workdir import changed_keys
from hilight_jax.stages.load_config import with_defaults

Row = Mapping[str, Any]


def read_published(path: Path, name: str) -> dict[str, Any] | None:
    """Reads a published table; None where there is none yet.

    Raises:
      DataError: The file is no table of runs.
      UserError: It is another table than ``name``.
    """
    if not path.is_file():
        return None
    advice = "name another file, or restore this one"
    table = read_object(path, DataError, advice)
    if not isinstance(table.get("table"), str) or not isinstance(table.get("rows"), list):
        raise DataError(f"'{path}' is no published table of runs; {advice}.")
    for row in table["rows"]:
        known = isinstance(row, dict) and isinstance(row.get("name"), str) and isinstance(row.get("configs"), list)
        runs = row.get("runs") or [None]
        if not known or not all(isinstance(run, dict) and {"seed", "date"} <= set(run) for run in runs):
            raise DataError(f"'{path}' has a row that is none of a published table; {advice}.")
        of_row = f"'{path}', row '{row['name']}'"
        if twice := [seed for seed, count in Counter(run["seed"] for run in row["runs"]).items() if count > 1]:
            raise DataError(f"{of_row}: seed {twice[0]} stands there twice, as after a merge; keep the right one.")
        for run in row["runs"]:
            if name_of := not_finite(run):
                raise DataError(f"{of_row}, seed {run['seed']}: '{name_of}' is not finite; take the run out.")
    if twice := [name for name, count in Counter(row["name"] for row in table["rows"]).items() if count > 1]:
        raise DataError(f"'{path}' has the row '{twice[0]}' twice, as after a merge; bring its runs together.")
    if table["table"] != name:
        raise UserError(f"'{path}' is the published table '{table['table']}', not '{name}'; name another file.")
    if not isinstance(table.get("command"), str) or not isinstance(table.get("date"), str | None):
        raise DataError(f"'{path}' does not say when and with which command it was made; {advice}.")
    return table


def check_place(path: Path, name: str, configs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Refuses a file that a table cannot be published to, before anything is trained.

    Args:
      path: The file.
      name: Of the table.
      configs: Of each row, as they are now.

    Raises:
      UserError: Its folder is missing, it holds something else, or one of its rows is configured otherwise now.
    """
    if path.is_dir():
        raise UserError(f"'{path}' is a folder; name a JSON file, such as '{path / name}.json'.")
    if not path.parent.is_dir():
        raise UserError(f"'{path}' cannot be written: there is no folder '{path.parent}'; make it, or name another.")
    _check_configs(path, read_published(path, name), configs)


def _check_configs(
    path: Path, table: Mapping[str, Any] | None, configs: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    for row in (table or {}).get("rows", ()):
        if row["name"] in configs and (changed := _changed(row, configs[row["name"]])):
            raise UserError(
                f"'{path}' holds runs of the row '{row['name']}' of another configuration ({changed}); name another "
                f"file, or delete that row if its runs are worth nothing any more."
            )


def not_finite(run: Mapping[str, Any]) -> str:
    """The name of a figure of a run that is no finite number, as after a training that diverged; '' for none."""
    groups = {"": run, **{name: group for name, group in run.items() if isinstance(group, dict) and name != "curves"}}
    for group, figures in groups.items():
        for name, value in figures.items():
            if isinstance(value, float) and not math.isfinite(value):
                return f"{group}/{name}" if group else name
    return ""


def published_run(
    table: Mapping[str, Any] | None, name: str, configs: Sequence[Mapping[str, Any]], seed: int
) -> Mapping[str, Any] | None:
    """The published figures of a row with one seed; None where there are none, or the row is configured otherwise."""
    for row in (table or {}).get("rows", ()):
        if row["name"] == name and not _changed(row, configs):
            return next((run for run in row["runs"] if run["seed"] == seed), None)
    return None


def publish(path: Path, name: str, rows: Sequence[Row], command: Callable[[Sequence[int]], str]) -> None:
    """Adds finished runs to a published table; processes that do so at the same time wait for each other.

    Args:
      path: The file.
      name: Of the table.
      rows: Each with ``name``, ``configs`` and ``runs``, as they are now; runs that are ``not_run`` are left out, and
        without any other nothing is written.
      command: From the seeds of all its runs to the command that trains them.

    Raises:
      DataError: The file is damaged.
      UserError: It is another table, or holds runs of another configuration.
    """
    with _locked(path.parent):
        table = read_published(path, name)
        finished = {row["name"]: row["configs"] for row in rows if any("not_run" not in run for run in row["runs"])}
        _check_configs(path, table, finished)
        known = {row["name"]: row for row in (table or {}).get("rows", ())}
        for row in rows:
            runs = {run["seed"]: run for run in known.get(row["name"], {}).get("runs", ())}
            for run in row["runs"]:
                if "not_run" not in run and run["date"] >= runs.get(run["seed"], run)["date"]:
                    runs[run["seed"]] = run
            if row["name"] in finished:
                known[row["name"]] = {**row, "runs": [runs[seed] for seed in sorted(runs)]}
        order = {row["name"]: place for place, row in enumerate(rows)}
        found = sorted(known.values(), key=lambda row: order.get(row["name"], len(order)))
        if not found:
            return
        seeds = sorted({run["seed"] for row in found for run in row["runs"]})
        date = max(run["date"] for row in found for run in row["runs"])
        write_bytes(path, _text({"table": name, "date": date, "command": command(seeds)}, found).encode())


def _changed(row: Row, configs: Sequence[Mapping[str, Any]]) -> str:
    """The keys in which the published configurations of a row differ from those of today; empty for none."""
    if len(row["configs"]) != len(configs):
        return "it has other stages"
    pairs = zip(row["configs"], configs, strict=True)
    return "; ".join(line for old, new in pairs for line in changed_keys(plain(with_defaults(old)), new))


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with lists in the place of tuples, as JSON has it."""
    return json.loads(json.dumps(config))


def _text(about: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The table as JSON with a run on each line, so that a run that is added is a line that is added."""
    parts = []
    for row in rows:
        configs, runs = (",\n    ".join(map(json.dumps, row[key])) for key in ("configs", "runs"))
        names = f'"name": {json.dumps(row["name"])}, "configs": [\n    {configs}\n  ], "runs": [\n    {runs}\n  ]'
        parts.append(f"  {{{names}}}")
    rest = ",\n".join(parts)
    opening = json.dumps(about, indent=1).removesuffix("\n}")
    return f'{opening},\n "rows": [\n{rest}\n ]\n}}\n'


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
