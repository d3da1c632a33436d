"""The report of a run, `report/index.html` in its working directory: what all stages show, around a stage's sections.

Reads `config.json` and `evaluations/*.json` as `evaluate` writes them. Figures that were not measured are shown as not
run.
"""

import datetime
import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import read_object
from hilight_jax.core.errors import DataError
from hilight_jax.pages import page
from hilight_jax.pages.charts import line_chart
from hilight_jax.pages.page import text

Records = Sequence[Mapping[str, float]]
Results = Sequence[Mapping[str, Any]]

_NOT_LOSSES = (
    *("step", "skipped", "learning_rate", "gradient_norm"),
    *("seconds_per_step", "data_wait_share", "examples_per_second"),
)


def read_result(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object that another command wrote; None when there is no such file.

    Raises:
      DataError: the file holds something else.
    """
    if not path.is_file():
        return None
    return read_object(path, DataError, "delete it and run the command that writes it again")


def read_evaluations(workdir: Path) -> list[dict[str, Any]]:
    """Reads the results of `evaluate`, the held-out examples of the training world first, none of shuffled positions.

    Of each split the one of its own name comes first, before those of parts, of other options and of other checkpoints.
    """
    results: list[Any] = [read_result(path) for path in sorted((workdir / "evaluations").glob("*.json"))]
    results = [result for result in results if not result.get("shuffled")]

    def order(result: dict[str, Any]) -> tuple[bool, bool, str]:
        return result["split"] != "validation", result["name"] != result["split"], result["name"]

    return sorted(results, key=order)


def checkpoint(result: Mapping[str, Any]) -> str:
    """The checkpoint that was evaluated: 'step 500, latest'."""
    step = result.get("step")
    return f"step {'unknown' if step is None else step}, {result.get('which', 'unknown')}"


def points(records: Records, name: str) -> list[tuple[float, float]]:
    """(step, value) of one figure, wherever it was measured."""
    return [(record["step"], record[name]) for record in records if name in record]


def examples_section(title: str, words: str, cards: Sequence[str], drawn_from: str) -> str:
    """Example clips, one card of HTML each, below the rule of choosing them; empty without cards.

    The rule ends in `words`; `drawn_from` is the checkpoint, in words.
    """
    if not cards:
        return ""
    drawn = f" Checkpoint: {drawn_from}." if drawn_from else ""
    note = page.note(f"Held-out clips, taken in order and not picked{words}{drawn}")
    return page.section(title, note, f'<div class="clips">{"".join(cards)}</div>')


def left_out(summary: str, names: Sequence[str]) -> str:
    """A folded list of examples that were not evaluated; empty without names."""
    items = "".join(f"<li>{text(name)}</li>" for name in names)
    return f"<details><summary>{text(summary)}</summary><ul>{items}</ul></details>" if names else ""


class Report:
    """A report to write anew; `folder` is the emptied directory of the page, for pictures."""

    def __init__(self, workdir: Path, records: Records, overrides: Sequence[str] | None):
        """Reads the run's files and empties `workdir/report/`.

        The `records` are its metrics, in order; each has 'step'. The `overrides` turn the preset's own configuration
        into that of the run; None if they are not known.
        """
        self._workdir, self._records, self._overrides = workdir, records, overrides
        self.config = read_result(workdir / "config.json") or {}
        self.evaluations = read_evaluations(workdir)  # Each has 'command'.
        self.folder = workdir / "report"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def write(
        self,
        model: str,
        tiles: Sequence[tuple[str, str, str]],
        before: Sequence[str],
        charts: Sequence[str],
        after: Sequence[str],
    ) -> Path:
        """Writes the page and returns its path.

        `model` is the kind of model, as HTML; the sections `before` and `after` stand above and below the curves.
        """
        body = [
            self._head(model, tiles or [("Evaluation", "–", page.MISSING)]),
            *before,
            self._curves(charts),
            *after,
            self._reproduction(),
            f"<footer>Written {datetime.datetime.now():%Y-%m-%d %H:%M} by hilight_jax.</footer>",
        ]
        title = f"{self.config.get('name', self._workdir.name)} {self.config.get('preset', '')}".strip()
        path = self.folder / "index.html"
        path.write_text(page.render(f"{title} · report", body), encoding="utf-8")
        return path

    def _head(self, model: str, tiles: Sequence[tuple[str, str, str]]) -> str:
        step = max((record["step"] for record in self._records), default=0)
        planned = f" of {self.config['steps']}" if self.config.get("steps") else ""
        name = f"{self.config.get('name', self._workdir.name)} · {self.config.get('preset', 'own config')}"
        lead = f"{model}, trained to step {step}{planned}; working directory <code>{text(self._workdir)}</code>."
        return f'<header>\n<h1>{text(name)}</h1>\n<p class="lead">{lead}</p>\n</header>\n{page.tiles(tiles)}'

    def _curves(self, own_charts: Sequence[str]) -> str:
        """Losses, then the stage's own charts, then the optimiser's."""
        losses = {}
        for record in self._records:
            if "loss" in record:
                for name, value in record.items():
                    if name not in _NOT_LOSSES:
                        losses.setdefault(name, []).append((record["step"], value))
        charts = [line_chart("Loss", losses), *own_charts]
        for title, name in (("Learning rate", "learning_rate"), ("Gradient norm", "gradient_norm")):
            charts.append(line_chart(title, {title.lower(): points(self._records, name)}, low=0.0))
        charts.append(line_chart("Seconds per step", {"seconds": points(self._records, "seconds_per_step")}, low=0.0))
        if not any(charts):
            return page.section("Training", page.note(f"No metrics: {page.MISSING}."))
        return page.section("Training", f'<div class="charts">{"".join(charts)}</div>')

    def _reproduction(self) -> str:
        """The commands that made the run and its figures, and its whole configuration."""
        file = f"configs/{self.config.get('stage', 'encoder')}.py"
        spec = f"{file}:{self.config['preset']}" if self.config.get("preset") else file
        options = shlex.join(["--config", spec, "--workdir", str(self._workdir), *(self._overrides or ())])
        lines = [f"python -m hilight_jax.train {options}", *(result["command"] for result in self.evaluations)]
        lines.append(shlex.join(["python", "-m", "hilight_jax.report", str(self._workdir)]))
        unknown = (
            f"'{spec}' is no preset here: the run's own config file and options are needed, see the configuration."
        )
        whole = f"<pre>{text(json.dumps(self.config, indent=2))}</pre>"
        return page.section(
            "How to get this again",
            f"<pre>{text(chr(10).join(lines))}</pre>",
            page.note(unknown) if self._overrides is None else "",
            f"<details><summary>The whole configuration</summary>{whole}</details>",
        )
