"""The tables of the pages of results, as Markdown, from published tables of runs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hilight_jax.experiments.ablations import TABLES
from hilight_jax.experiments.claims import Comparison, Difference, Verdict, verdict
from hilight_jax.experiments.report_claims import Claim
from hilight_jax.pages.ablation_table import figure_of, markdown

Tables = Mapping[str, Mapping[str, Any]]
Found = Sequence[tuple[Claim, Sequence[Difference | None]]]
FIGURES = {
    "validation/ball_pointing": "pointing",
    "shuffled/ball_lost": "pointing lost when shuffled",
    "validation/text_to_video_r1": "R@1",
    "validation/ball_soft_iou": "soft IoU",
    "validation/ball_any_ball": "peaks on some ball",
    "validation/phrases_right": "own abstract phrase nearest",
    "validation/phrases_lost": "R@1 lost to another's phrase",
    "train/within_clip": "local loss",
    "cosine/vision": "cosine of gradients, video tower",
    "cosine/text": "cosine of gradients, text tower",
    "train_loss": "training loss",
    "right": "answers right",
}
_OF_NAME = {table.name: table for table in TABLES.values()}


def write_parts(tables: Tables, found: Found) -> dict[str, str]:
    """Writes all parts: Markdown by name."""
    return {
        "verdicts": _verdicts(found),
        "claims": "\n\n".join(_claim(*pair) for pair in found),
        "medium": markdown(_OF_NAME["medium"].layout, tables["medium"]),
        "losses": markdown(_OF_NAME["controls"].layout, tables["controls"]),
        "connectors": markdown(_OF_NAME["connectors"].layout, tables["connectors"]),
        "connectors-in-short": _connectors_in_short(tables["connectors"]),
        "demo": _demo(tables["demo"]),
        "demo-kinds": _kinds(tables["demo"]),
    }


def _verdicts(found: Found) -> str:
    lines = ["| claim | verdict |", "|---|---|"]
    return "\n".join(lines + [f"| {claim.title} | {verdict(differences)} |" for claim, differences in found])


def _claim(claim: Claim, differences: Sequence[Difference | None]) -> str:
    """A claim with its comparisons."""
    lines = [f"### {claim.title}", "", claim.said, ""]
    lines += ["| figure | row | other row | difference | 95 % | seeds | verdict |", "|---|---|---|---|---|---|---|"]
    lines += [_row(*pair) for pair in zip(claim.comparisons, differences, strict=True)]
    lines += ["", f"Verdict: **{verdict(differences)}**." + (f" {claim.note}" if claim.note else "")]
    return "\n".join(lines)


def _row(comparison: Comparison, difference: Difference | None) -> str:
    """A comparison as a row of a table."""
    figure, worse = FIGURES[comparison.figure], comparison.worse
    if difference is None:
        return f"| {figure} | {comparison.better} | {worse} | | | | {Verdict.NOT_RUN} |"
    middle = (difference.low + difference.high) / 2
    against_number = not isinstance(worse, str)
    seeds = str(difference.seeds[0]) if against_number else f"{difference.seeds[0]} and {difference.seeds[1]}"
    cells = (
        figure,
        f"{comparison.better}: {difference.better:.3f}",
        f"{worse:g}" if against_number else f"{worse}: {difference.worse:.3f}",
        f"{middle:+.3f}",
        f"{difference.low:+.3f} to {difference.high:+.3f}",
        seeds + ("" if difference.over_clips else ", clips left out"),
        str(difference.verdict),
    )
    return f"| {' | '.join(cells)} |"


def _connectors_in_short(table: Mapping[str, Any]) -> str:
    columns = {"right": "answers right", "types/left_or_right": "left or right", "types/in_view": "in view",
               "types/hit": "hit", "types/first_hit": "first hit"}  # fmt: skip
    lines = [f"| connector | {' | '.join(columns.values())} | seeds |", "|---" * (len(columns) + 2) + "|"]
    for row in table["rows"]:
        cells = [_cell(row["runs"], key, 3 if key == "right" else 2) for key in columns]
        lines.append(f"| {row['name']} | {' | '.join(cells)} | {len(row['runs'])} |")
    return "\n".join(lines)


def _demo(table: Mapping[str, Any]) -> str:
    """The figures of the demo with their controls."""
    rows = (
        ("text to video, R@1 of 256", "validation/text_to_video_r1", "unseen/text_to_video_r1", "0.004, chance"),
        ("the same with words", "validation/text_to_video_words_r1", "unseen/text_to_video_words_r1", ""),
        ("pointing at the named object ball", "validation/ball_pointing", "unseen/ball_pointing",
         ("validation/ball_random_ball", "a random visible ball")),
        ("pointing at the cue ball", "validation/cue_ball_pointing", "unseen/cue_ball_pointing",
         ("validation/cue_ball_random_ball", "a random visible ball")),
        ("answers right, mean over kinds", "right", "unseen", ("controls/question_only", "question alone")),
        ("calibration error", "calibration", "calibration_unseen", ""),
    )  # fmt: skip
    runs, lines = table["rows"][0]["runs"], ["| figure | validation | unseen | control |", "|---|---|---|---|"]
    for label, seen, unseen, control in rows:
        if not isinstance(control, str):
            control = f"{_cell(runs, control[0], 3, spread=False)}, {control[1]}"
        lines.append(f"| {label} | {_cell(runs, seen, 3)} | {_cell(runs, unseen, 3)} | {control} |")
    return "\n".join(lines)


def _kinds(table: Mapping[str, Any]) -> str:
    """The kinds of question of the demo, best first."""
    runs = table["rows"][0]["runs"]
    means = {kind: float(np.mean([run["types"][kind] for run in runs])) for kind in runs[0]["types"]}
    lines = ["| kind of question | right |", "|---|---|"]
    ranked = sorted(means, key=lambda kind: -means[kind])
    return "\n".join(lines + [f"| {kind.replace('_', ' ')} | {_cell(runs, f'types/{kind}', 2)} |" for kind in ranked])


def _cell(runs: Iterable[Mapping[str, Any]], figure: str, digits: int, spread: bool = True) -> str:
    """The mean of the seeds, with the smallest and the largest."""
    values = [value for run in runs if (value := figure_of(run, figure)) is not None]
    if not values:
        return "-"
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})" if spread and len(values) > 1 else mean
