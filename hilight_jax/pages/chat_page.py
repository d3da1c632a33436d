"""The report of a chat run: `report/index.html` beside the checkpoints, answers always with their controls.

Read from the working directory: `config.json`, `provenance.json` (the runs that made the frozen parts), metrics (given)
and `evaluations/*.json` as `evaluate` writes them.
"""

import datetime
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from hilight_jax.pages import answer_examples, answer_tables, curves, page, reproduction
from hilight_jax.pages.answer_examples import AskedClips
from hilight_jax.pages.charts import line_chart
from hilight_jax.pages.page import text
from hilight_jax.pages.results import read_result

_STAGES = {
    "align": "token mining learns to speak to the language model",
    "tune": "the language model is tuned to the domain",
}


def write_chat_report(
    workdir: Path,
    records: Sequence[Mapping[str, float]],
    examples: Sequence[AskedClips] = (),
    drawn_from: str = "",
    overrides: Sequence[str] | None = (),
) -> Path:
    """Writes `workdir/report/` anew and returns the path of its index.html.

    Args:
      workdir: the working directory of a run of `align` or `tune`.
      records: its metrics, in order; each has 'step'.
      examples: held-out clips with questions, answers and truths.
      drawn_from: the checkpoint that answered them, in words.
      overrides: options that turn the preset's own configuration into that of the run; None when they are not known.
    """
    config = read_result(workdir / "config.json") or {}
    evaluations = reproduction.read_evaluations(workdir)
    folder = workdir / "report"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    body = [
        _head(workdir, config, records, evaluations),
        answer_examples.section(folder, examples, drawn_from),
        answer_tables.answers(evaluations),
        curves.section(records, _charts(records)),
        _parts(workdir, folder),
        reproduction.section(workdir, config, evaluations, overrides),
        f"<footer>Written {datetime.datetime.now():%Y-%m-%d %H:%M} by hilight_jax.</footer>",
    ]
    title = f"{config.get('name', workdir.name)} {config.get('preset', '')}".strip()
    path = folder / "index.html"
    path.write_text(page.render(f"{title} · report", body), encoding="utf-8")
    return path


def _head(workdir, config, records, evaluations):
    step = max((record["step"] for record in records), default=0)
    planned = f" of {config['steps']}" if config.get("steps") else ""
    stage = config.get("stage", "")
    items = [tile for result in evaluations for tile in answer_tables.tiles(result)]
    name = f"{config.get('name', workdir.name)} · {config.get('preset', 'own config')}"
    lead = (
        f"HiLight chat model, stage <em>{text(stage)}</em> ({_STAGES.get(stage, 'unknown')}), trained to step "
        f"{step}{planned}; working directory <code>{text(workdir)}</code>."
    )
    tiles = page.tiles(items or [("Evaluation", "–", page.MISSING)])
    return f'<header>\n<h1>{text(name)}</h1>\n<p class="lead">{lead}</p>\n</header>\n{tiles}'


def _charts(records):
    """One chart per kind of validation figure: the loss, and the shares."""
    names = sorted({name for record in records for name in record if name.startswith("validation/")})
    figures = {name.removeprefix("validation/"): curves.points(records, name) for name in names}
    losses = {name: values for name, values in figures.items() if "loss" in name}
    shares = {name: values for name, values in figures.items() if "loss" not in name}
    return [
        line_chart("Validation loss", losses),
        line_chart("Validation, truth given so far", shares, low=0.0),
    ]


def _parts(workdir, folder):
    """Where the parts come from that other runs trained, with links to those runs' reports."""
    origins = read_result(workdir / "provenance.json")
    if not origins:
        return ""
    rows = []
    for part, origin in origins.items():
        other = Path(origin["workdir"]) / "report" / "index.html"
        name = f"<code>{text(origin['workdir'])}</code>"
        if other.is_file():
            name = f'<a href="{text(Path(os.path.relpath(other, folder)).as_posix())}">{name}</a>'
        rows.append([text(part), name, str(origin["step"])])
    words = "Parts that other runs trained, and that this one starts from or leaves as they are."
    return page.section("Where its parts come from", page.table(("part", "run", "step"), rows), page.note(words))
