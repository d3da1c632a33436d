"""The page of claims: each with its comparisons, their intervals and a verdict, from published tables of runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.benchmarks.ablations import TABLES
from hilight_jax.benchmarks.claims import Comparison, Difference, compare, verdict
from hilight_jax.benchmarks.published import read_published
from hilight_jax.benchmarks.report_claims import CLAIMS, Claim
from hilight_jax.core.errors import UserError
from hilight_jax.pages.ablation_table import markdown
from hilight_jax.pages.charts import interval_chart

PAGE, CHART = "claims.md", "claims.svg"
_OF_NAME = {table.name: table for table in TABLES.values()}
_FIGURES = {
    "validation/ball_pointing": "pointing",
    "shuffled/ball_lost": "pointing lost when shuffled",
    "validation/text_to_video_r1": "R@1",
    "validation/ball_soft_iou": "soft IoU",
    "validation/ball_any_ball": "peaks on some ball",
    "loss": "validation loss",
    "right": "answers right",
}
_HEAD = """# The report's claims as numbers

What HiLight's report (arXiv 2407.07325) claims, and what this project claims beside it, tested at the size of the demo:
towers of two and three layers and width 128 from scratch, on 4,000 rendered clips. Nothing here says how pretrained
towers behave.

Every comparison is of two rows of a table of runs, of which the first is said to be better: higher, or of a loss
lower. The difference counts in favour of the first. Its interval is 95 %, over seeds and held-out clips
(`hilight_jax/benchmarks/claims.py` has the formula). A comparison *holds* where the whole interval is above 0, *does
not hold* where all of it is below, and else *cannot be told at this size*. A claim of several comparisons holds when
all do, and does not when one does not; the intervals are not widened for their number.
"""


def write_claims(data: Path, to: Path) -> list[str]:
    """Writes the page and its chart into the folder ``to`` from the tables in ``data``; returns a line for each claim.

    Raises:
      UserError: A table is missing, with the command that makes it.
    """
    tables = {name: _read(data / f"{name}.json", name) for name in dict.fromkeys(claim.table for claim in CLAIMS)}
    found = [(claim, [compare(tables[claim.table], one) for one in claim.comparisons]) for claim in CLAIMS]
    (to / CHART).write_text(_chart(found), encoding="utf-8")
    (to / PAGE).write_text(_page(found, tables), encoding="utf-8")
    return [f"{claim.title}: {verdict(differences)}" for claim, differences in found]


def _read(path: Path, name: str) -> Mapping[str, Any]:
    if (table := read_published(path, name)) is None:
        verb = next(key for key, table in TABLES.items() if table.name == name)
        raise UserError(f"'{path}' is missing; make it with: python -m hilight_jax.ablate {verb} --publish {path}")
    return table


def _page(found: Sequence[tuple[Claim, Sequence[Difference | None]]], tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [_HEAD, f"![Differences with their intervals]({CHART})", "", "| claim | verdict |", "|---|---|"]
    lines += [f"| {claim.title} | {verdict(differences)} |" for claim, differences in found]
    for claim, differences in found:
        lines += ["", f"## {claim.title}", "", claim.said, ""]
        lines += ["| figure | row | other row | difference | 95 % | seeds | verdict |", "|---|---|---|---|---|---|---|"]
        lines += [_row(*pair) for pair in zip(claim.comparisons, differences, strict=True)]
        lines += ["", f"Verdict: **{verdict(differences)}**." + (f" {claim.note}" if claim.note else "")]
    for name, table in tables.items():
        layout = _OF_NAME[name].layout
        lines += ["", f"## All runs: {layout.title[0].lower()}{layout.title[1:]}", "", markdown(layout, table).rstrip()]
    lines += ["", "## Run it again", "", "```"]
    verbs = [key for key, table in TABLES.items() if table.name in tables]
    lines += [f"python -m hilight_jax.ablate {verb} --publish docs/data/{TABLES[verb].name}.json" for verb in verbs]
    lines += ["python -m hilight_jax.ablate claims    # this page, from the published figures", "```", ""]
    return "\n".join(lines)


def _row(comparison: Comparison, difference: Difference | None) -> str:
    """A comparison as a row of a table."""
    figure, worse = _FIGURES[comparison.figure], comparison.worse
    if difference is None:
        return f"| {figure} | {comparison.better} | {worse} | | | | not run |"
    middle = (difference.low + difference.high) / 2
    cells = (
        figure,
        f"{comparison.better}: {difference.better:.3f}",
        f"{worse}: {difference.worse:.3f}",
        f"{middle:+.3f}",
        f"{difference.low:+.3f} to {difference.high:+.3f}",
        f"{difference.seeds[0]} and {difference.seeds[1]}" + ("" if difference.over_clips else ", clips left out"),
        str(difference.verdict),
    )
    return f"| {' | '.join(cells)} |"


def _chart(found: Sequence[tuple[Claim, Sequence[Difference | None]]]) -> str:
    rows = []
    for claim, differences in found:
        for comparison, difference in zip(claim.comparisons, differences, strict=True):
            if difference is not None:
                label = f"{_FIGURES[comparison.figure]}: {comparison.better} — {comparison.worse}"
                rows.append((label, (difference.low + difference.high) / 2, difference.low, difference.high))
    return interval_chart("Differences between rows, 95 %", rows)
