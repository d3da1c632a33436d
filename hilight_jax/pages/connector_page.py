"""The report's Figure 3 as a page: loss curves of the connector structures, and how their answers score.

```
{"date": "2026-11-22 14:05", "command": "python -m hilight_jax.connectors ...",
 "rows": [{"name": "dual projectors, as released", "runs": [{"seed": 0, "loss": 0.2, "right": 0.6, ...},
                                                            {"seed": 1, "not_run": "not trained"}]}]}
```
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.pages import page
from hilight_jax.pages.charts import line_chart

_RULE = (
    "One figure per seed, of the last checkpoint, on held-out clips. Right: mean over the kinds of question that need "
    "the video; most frequent and other clip are the same mean of always giving the most frequent answer, and of the "
    "same model shown another clip."
)


def write_page(path: Path, table: Mapping[str, Any], curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Writes the page.

    Args:
      path: the file.
      table: see above.
      curves: (step, training loss) by run.
    """
    header, rows = _cells(table)
    body = [
        "<h1>Connector structures</h1>",
        page.note(_origin(table)),
        page.section("Training loss", line_chart("cross entropy of the next token", curves, low=0.0)),
        page.section(
            "Answers", page.table(header, ([page.text(cell) for cell in row] for row in rows)), page.note(_RULE)
        ),
    ]
    path.write_text(page.render("Connector structures", body), encoding="utf-8")


def markdown(table: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    header, rows = _cells(table)
    lines = [f"{_origin(table)}. {_RULE}", "", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _cells(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text."""
    kinds = list(dict.fromkeys(kind for row in table["rows"] for run in row["runs"] for kind in run.get("types", ())))
    header = ["connector", "validation loss", "right", "most frequent", "other clip", *kinds]
    rows = []
    for row in table["rows"]:
        figures = [
            [run.get("loss") for run in row["runs"]],
            [run.get("right") for run in row["runs"]],
            *([run.get("controls", {}).get(name) for run in row["runs"]] for name in ("most_frequent", "other_clip")),
            *([run.get("types", {}).get(kind) for run in row["runs"]] for kind in kinds),
        ]
        rows.append([row["name"], *(_figures(values, row["runs"]) for values in figures)])
    return [name.replace("_", " ") for name in header], rows


def _figures(values: Sequence[float | None], runs: Sequence[Mapping[str, Any]]) -> str:
    """The figures of all seeds; a run that has none says so, a kind that was not asked is a dash."""
    shown = [
        page.MISSING if "not_run" in run else page.share(value, 3) for value, run in zip(values, runs, strict=True)
    ]
    return " / ".join(shown) if set(shown) != {page.MISSING} else page.MISSING


def _origin(table: Mapping[str, Any]) -> str:
    made = f"Last run {table['date']}" if table["date"] else "Nothing was run yet"
    return f"{made}, with: {table['command']}"
