"""The tables of the pages of results, as Markdown, from published tables of runs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.experiments.ablations import TABLES
from hilight_jax.experiments.claims import Comparison, Difference, Verdict, verdict
from hilight_jax.experiments.report_claims import FIGURES, Claim
from hilight_jax.pages import page
from hilight_jax.pages.ablation_table import cell, figure_of, markdown

Tables = Mapping[str, Mapping[str, Any]]
_OF_NAME = {table.name: table for table in TABLES.values()}
_IN_FULL = {"losses": "controls", "connectors": "connectors"}  # Tables by part.
_WITHOUT_VIDEO = ("no_clip", "unanswerable")  # Kinds of question that are not in the mean.


class Tested(NamedTuple):
    """A claim and what its comparisons found, in their order."""

    claim: Claim
    differences: Sequence[Difference | None]


def write_parts(tables: Tables, tested: Sequence[Tested]) -> dict[str, str]:
    """Writes all parts: Markdown by name."""
    in_full = {name: markdown(_OF_NAME[table].layout, tables[table]) for name, table in _IN_FULL.items()}
    return in_full | {
        "verdicts": _verdicts(tested),
        "verdicts-in-short": _verdicts_in_short(tested),
        "claims": "\n\n".join(_claim(number, *one) for number, one in enumerate(tested, 1)),
        "connectors-in-short": _connectors_in_short(tables["connectors"]),
        "demo": _demo(tables["demo"]),
        "demo-kinds": _kinds(tables["demo"]),
    }


def letter(place: int) -> str:
    """The letter of a claim's comparison, from a."""
    return chr(ord("a") + place)


def _verdicts(tested: Sequence[Tested]) -> str:
    lines = ["| claim | verdict |", "|---|---|"]
    for number, (claim, differences) in enumerate(tested, 1):
        lines.append(f"| {number}. {claim.title} | {verdict(differences)} |")
    return "\n".join(lines)


def _verdicts_in_short(tested: Sequence[Tested]) -> str:
    """The claims of each verdict in a row."""
    titles: dict[Verdict, list[str]] = {}
    for claim, differences in tested:
        titles.setdefault(verdict(differences), []).append(claim.title)
    rows = [f"| {kind} | {'; '.join(titles[kind])} |" for kind in Verdict if kind in titles]
    return "\n".join(["| verdict | claims |", "|---|---|", *rows])


def _claim(number: int, claim: Claim, differences: Sequence[Difference | None]) -> str:
    """A claim with its comparisons."""
    lines = [f"### {number}. {claim.title}", "", claim.said, ""]
    lines += ["| | figure | row | other row | difference | 95 % | seeds | verdict |", "|---" * 8 + "|"]
    pairs = zip(claim.comparisons, differences, strict=True)
    lines += [_comparison(f"{number}{letter(place)}", *pair) for place, pair in enumerate(pairs)]
    lines += ["", f"Verdict: **{verdict(differences)}**." + (f" {claim.note}" if claim.note else "")]
    return "\n".join(lines)


def _comparison(name: str, comparison: Comparison, difference: Difference | None) -> str:
    """A comparison as a row of a table."""
    figure, worse = FIGURES[comparison.figure], comparison.worse
    if difference is None:
        return f"| {name} | {figure} | {comparison.better} | {worse} | | | | {Verdict.NOT_RUN} |"
    is_row = isinstance(worse, str)
    seeds = " and ".join(map(str, difference.seeds if is_row else difference.seeds[:1]))
    cells = (
        name,
        figure,
        f"{comparison.better}: {difference.better:.3f}",
        f"{worse}: {difference.worse:.3f}" if is_row else f"{worse:g}",
        f"{difference.difference:+.3f}",
        f"{difference.low:+.3f} to {difference.high:+.3f}",
        seeds + ("" if difference.over_clips else ", over seeds alone"),
        str(difference.verdict),
    )
    return f"| {' | '.join(cells)} |"


def _connectors_in_short(table: Mapping[str, Any]) -> str:
    columns = {"right": "answers right", "types/left_or_right": "left or right", "types/in_view": "in view",
               "types/hit": "hit", "types/first_hit": "first hit"}  # fmt: skip
    lines = [f"| connector | {' | '.join(columns.values())} | seeds |", "|---" * (len(columns) + 2) + "|"]
    for row in table["rows"]:
        cells = [_shown(row["runs"], key, 3 if key == "right" else 2) for key in columns]
        lines.append(f"| {row['name']} | {' | '.join(cells)} | {len(_figures(row['runs'], 'right'))} |")
    return "\n".join(lines)


def _demo(table: Mapping[str, Any]) -> str:
    """The figures of the demo with their controls."""
    rows = (
        ("text to video, R@1 of 256", "validation/text_to_video_r1", "unseen/text_to_video_r1", {}),
        ("the same with words", "validation/text_to_video_words_r1", "unseen/text_to_video_words_r1", {}),
        ("pointing at the named object ball", "validation/ball_pointing", "unseen/ball_pointing",
         {"validation/ball_random_ball": "a random visible ball"}),
        ("pointing at the cue ball", "validation/cue_ball_pointing", "unseen/cue_ball_pointing",
         {"validation/cue_ball_random_ball": "a random visible ball"}),
        ("answers right, mean over kinds", "right", "unseen",
         {"controls/question_only": "question alone", "controls/other_clip": "other clip"}),
        ("calibration error", "calibration", "calibration_unseen", {}),
    )  # fmt: skip
    runs, lines = _runs(table), ["| figure | validation | unseen | control |", "|---|---|---|---|"]
    for label, seen, unseen, controls in rows:
        means = "; ".join(f"{np.mean(_figures(runs, key) or [np.nan]):.3f}, {name}" for key, name in controls.items())
        chance = "0.004, chance" if "R@1" in label else means
        lines.append(f"| {label} | {_shown(runs, seen, 3)} | {_shown(runs, unseen, 3)} | {chance} |")
    return "\n".join(lines)


def _kinds(table: Mapping[str, Any]) -> str:
    """The kinds of question of the demo that need the video, best first, and those that do not."""
    runs = _runs(table)
    names = dict.fromkeys(kind for run in runs for kind in run.get("types", ()))
    ranked = sorted(names, key=lambda kind: (kind in _WITHOUT_VIDEO, -np.mean(_figures(runs, f"types/{kind}"))))
    lines = ["| kind of question | right |", "|---|---|"]
    for kind in ranked:
        label = kind.replace("_", " ") + (", not in the mean" if kind in _WITHOUT_VIDEO else "")
        lines.append(f"| {label} | {_shown(runs, f'types/{kind}', 2)} |")
    return "\n".join(lines)


def _runs(table: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The runs of a table of one row."""
    return [run for row in table["rows"] for run in row["runs"]]


def _figures(runs: Sequence[Mapping[str, Any]], figure: str) -> list[float]:
    """A figure of every run that has it."""
    return [value for run in runs if (value := figure_of(run, figure)) is not None]


def _shown(runs: Sequence[Mapping[str, Any]], figure: str, digits: int) -> str:
    """The mean of the seeds, with the smallest and the largest."""
    return cell(_figures(runs, figure), digits) or page.MISSING
