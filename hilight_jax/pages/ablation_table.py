"""Tables of runs as Markdown, as a section of a report and as a page of their own.

```
{"date": "2026-11-22 14:05", "command": "python -m hilight_jax.ablate losses --seeds 0,1",
 "rows": [{"name": "no local loss", "runs": [{"seed": 0, "validation/text_to_video_r1": 0.2, ...},
                                             {"seed": 1, "not_run": "not trained"}]}]}
```

A cell is the mean of its seeds with the smallest and the largest, ``0.31 (0.28 to 0.34)``. A run that is null, a row
without runs and a figure that a run lacks are not run: the cell says how many seeds it has, and reasons stand below.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.pages import page
from hilight_jax.pages.charts import line_chart

Table = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Layout:
    """The columns of a table and the sentence that explains them."""

    title: str  # Of its section or page.
    rows: str  # Heading of the first column.
    columns: Mapping[str, str]  # Headings by figure; ``group/name`` is a figure of a group.
    rule: str  # The explanation.
    more: str = ""  # A group whose figures are further columns, under their own names.
    digits: int = 2  # Decimals of a figure.

    def all_columns(self, table: Table) -> dict[str, str]:
        """The columns with those of the group ``more``, in the order in which the runs have them."""
        names = (name for row in table["rows"] for run in row["runs"] if run for name in run.get(self.more, ()))
        return {**self.columns, **{f"{self.more}/{name}": name.replace("_", " ") for name in names}}


_CONTROLS = {"controls/most_frequent": "most frequent", "controls/other_clip": "other clip"}
_MEANS = "Means of seeds, smallest to largest, of the last checkpoints. "
_RIGHT = (
    "Right: mean over the kinds of question that need the video, on held-out clips. Question alone, most frequent and "
    "other clip: the same mean of the most frequent training answer to that very question, of the most frequent answer "
    "of the kind, and of the same model shown another clip."
)
LOSSES = Layout(
    title="Control runs",
    rows="local loss",
    columns={
        "validation/text_to_video_r1": "R@1",
        "validation/text_to_video_r5": "R@5",
        "validation/ball_pointing": "pointing",
        "validation/ball_shuffled_word": "another word",
        "validation/ball_any_ball": "any ball",
        "shuffled/text_to_video_r1": "R@1, places shuffled",
        "shuffled/ball_pointing": "pointing, places shuffled",
        "validation/phrases_right": "own phrase",
        "validation/phrases_most_frequent": "most frequent phrase",
        "validation/phrases_R@1": "R@1, own phrase",
        "validation/phrases_R@1_rephrased": "R@1, other phrase",
        "unseen/text_to_video_r1": "R@1, unseen",
        "unseen/ball_pointing": "pointing, unseen",
    },
    rule=_MEANS + "Pointing: at the named object ball; another word: at the same ball, by the word of another one. Any "
    "ball: how often the peak lies on some ball. Places shuffled: with the embeddings of places in another order. "
    "Phrases: of the first captions, which end in an abstract phrase; how often the clip lies nearest to its own one, "
    "and R@1 with the own and with another phrase.",
)
_ONE_EVALUATION = ("shuffled/", "validation/phrases_")  # Figures of the demo's encoder alone.
MEDIUM = dataclasses.replace(
    LOSSES,
    title="Local losses on a larger video tower",
    columns={name: heading for name, heading in LOSSES.columns.items() if not name.startswith(_ONE_EVALUATION)},
    rule=_MEANS + "The columns are those of the demo's encoder.",
)
DEMO = Layout(
    title="The demo",
    rows="run",
    columns={
        "validation/text_to_video_r1": "R@1",
        "validation/text_to_video_words_r1": "R@1, words",
        "validation/ball_pointing": "pointing",
        "validation/cue_ball_pointing": "pointing, cue ball",
        "right": "right",
        "unseen": "right, unseen",
        **_CONTROLS,
    },
    rule=_MEANS + _RIGHT,
    more="types",
    digits=3,
)
CONNECTORS = Layout(
    title="Connector structures",
    rows="connector",
    columns={
        "loss": "validation loss",
        "right": "right",
        "controls/question_only": "question alone",
        **_CONTROLS,
    },
    rule=_MEANS + _RIGHT,
    more="types",
    digits=3,
)


def markdown(layout: Layout, table: Table) -> str:
    """The table as Markdown."""
    columns = layout.all_columns(table)
    lines = [_words(layout, table), "", f"| {layout.rows} | {' | '.join(columns.values())} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name, cells in _rows(layout, table):
        lines.append(f"| {name} | {' | '.join(cell or page.MISSING for cell in cells)} |")
    return "\n".join(lines) + "\n"


def section(table: Table | None) -> str:
    """The table of losses as a section of a report."""
    if table is None:
        return page.section(LOSSES.title, page.note(f"Control runs: {page.MISSING}; `make controls` trains them."))
    return page.section(LOSSES.title, _html(LOSSES, table), page.note(_words(LOSSES, table)))


def write_page(path: Path, layout: Layout, table: Table, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Writes a page of the table below the (step, training loss) curves of its runs."""
    chart = line_chart("cross entropy of the next token", curves, low=0.0)
    body = [
        f"<h1>{page.text(layout.title)}</h1>",
        page.section("Training loss", chart),
        page.section("Answers", _html(layout, table), page.note(_words(layout, table))),
    ]
    path.write_text(page.render(layout.title, body), encoding="utf-8")


def figure_of(run: Mapping[str, Any] | None, key: str) -> Any:
    """One figure of one run, by its own name or as ``group/name``; None where the run lacks it."""
    figures, (group, _, name) = run or {}, key.partition("/")
    if isinstance(figures.get(group), Mapping):
        figures, key = figures[group], name
    return figures.get(key)


def _html(layout: Layout, table: Table) -> str:
    rows = [[page.text(name), *cells] for name, cells in _rows(layout, table)]
    return page.table((layout.rows, *layout.all_columns(table).values()), rows)


def _rows(layout: Layout, table: Table) -> list[tuple[str, list[str | None]]]:
    """Every row's name and cells; a cell holds the figures of all seeds, or None when there is none."""
    columns = layout.all_columns(table)
    return [
        (row["name"], [cell([figure_of(run, key) for run in row["runs"]], layout.digits) for key in columns])
        for row in table["rows"]
    ]


def cell(figures: Sequence[float | None], digits: int) -> str | None:
    """The mean of the seeds, their range, and how many they are where some are missing."""
    found = [figure for figure in figures if figure is not None]
    if not found:
        return None
    notes = []
    if len(found) > 1:
        notes.append(f"{page.share(min(found), digits)} to {page.share(max(found), digits)}")
    if len(found) < len(figures):
        notes.append(f"{len(found)} of {len(figures)} seeds")
    mean = page.share(sum(found) / len(found), digits)
    return f"{mean} ({'; '.join(notes)})" if notes else mean


def _words(layout: Layout, table: Table) -> str:
    """Date, command, the explanation, and why figures are missing, each reason once."""
    made = f"Last run {table['date']}" if table["date"] else "Nothing was run yet"
    reasons = Counter(run["not_run"] for row in table["rows"] for run in row["runs"] if run and "not_run" in run)
    listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
    missing = f" Not run, in runs: {listed}." if listed else ""
    return f"{made}, with: {table['command']}. {layout.rule}{missing}"
