"""The table of the control runs, once for all: its columns, and how it looks in Markdown and on a page.

```
{"date": "2026-11-22 14:05", "command": "python -m hilight_jax.controls --seeds 0,1",
 "rows": [{"name": "no local loss", "runs": [{"seed": 0, "validation/text_to_video_r1": 0.2, ...},
                                             {"seed": 1, "not_run": "not trained"}]}]}
```

A run that is null, a row without runs and a figure that a run lacks are shown as not run; reasons stand below.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hilight_jax.pages import page

COLUMNS = {
    "validation/text_to_video_r1": "R@1",
    "validation/text_to_video_r5": "R@5",
    "validation/ball_pointing": "pointing",
    "validation/ball_area_chance": "area chance",
    "validation/ball_random_ball": "random ball",
    "validation/ball_any_ball": "any ball",
    "unseen/text_to_video_r1": "R@1, unseen",
    "unseen/ball_pointing": "pointing, unseen",
    "unseen/ball_area_chance": "area chance, unseen",
    "unseen/ball_any_ball": "any ball, unseen",
}
_RULE = (
    "One figure per seed, of the last checkpoint. Pointing: at the named object ball. Area chance and random ball: "
    "what a random patch and a random visible ball would score. Any ball: how often the peak lies on some ball."
)


def markdown(table: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    lines = [f"{_origin(table)}. {_RULE}{_reasons(table)}", ""]
    lines += [f"| local loss | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in table["rows"]:
        lines.append(f"| {row['name']} | {' | '.join(_cell(row['runs'], key) or page.MISSING for key in COLUMNS)} |")
    return "\n".join(lines) + "\n"


def section(table: Mapping[str, Any] | None) -> str:
    """The table as a section of a page."""
    if table is None:
        return page.section("Control runs", page.note(f"Control runs: {page.MISSING}; `make controls` trains them."))
    rows = [[page.text(row["name"]), *(_cell(row["runs"], key) for key in COLUMNS)] for row in table["rows"]]
    words = page.note(f"{_origin(table)}. {_RULE}{_reasons(table)}")
    return page.section("Control runs", page.table(("local loss", *COLUMNS.values()), rows), words)


def _origin(table):
    made = f"Last run {table['date']}" if table["date"] else "Nothing was run yet"
    return f"{made}, with: {table['command']}"


def _cell(runs, key):
    """The figures of all seeds, or None when there is none."""
    cells = [page.share(run[key]) if run and key in run else page.MISSING for run in runs]
    return " / ".join(cells) if any(cell != page.MISSING for cell in cells) else None


def _reasons(table):
    """Why figures are missing, each reason once."""
    reasons = Counter(run["not_run"] for row in table["rows"] for run in row["runs"] if run and "not_run" in run)
    listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
    return f" Not run, in runs: {listed}." if listed else ""
