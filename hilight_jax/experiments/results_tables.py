"""The tables of the pages of results, as Markdown, from published tables of runs."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.experiments.ablations import TABLES
from hilight_jax.experiments.claims import (
    PRIOR,
    Comparison,
    Difference,
    Verdict,
    compare,
    told_together,
    values_of,
    verdict,
)
from hilight_jax.experiments.report_claims import FIGURES, Claim
from hilight_jax.experiments.run_table import RunTable
from hilight_jax.pages import page
from hilight_jax.pages.ablation_table import cell, markdown

Tables = Mapping[str, Mapping[str, Any]]
_OF_NAME = {table.name: table for table in TABLES.values()}
_IN_FULL = {"losses": "controls", "medium": "medium", "connectors": "connectors"}  # Tables by part.
_WITHOUT_VIDEO = ("no_clip", "unanswerable")  # Kinds of question that are not in the mean.


class Tested(NamedTuple):
    """A claim and what its comparisons found, in their order."""

    claim: Claim
    differences: Sequence[Difference | None]


def write_parts(tables: Tables, tested: Sequence[Tested]) -> dict[str, str]:
    """Writes all parts: Markdown by name."""
    in_full = {name: _in_full(_OF_NAME[table], tables[table]) for name, table in _IN_FULL.items()}
    return in_full | {
        "losses-chance": _chance(tables["controls"]),
        "connectors-encoders": _encoders(tables["connectors"]),
        "verdicts": _verdicts(tested),
        "verdicts-in-short": _verdicts_in_short(tested),
        "claims": _claims(tested),
        "claims-counted": _counted(tables, tested),
        "connectors-in-short": _connectors_in_short(tables["connectors"]),
        "demo": _demo(tables["demo"]),
        "demo-kinds": _kinds(tables["demo"]),
    }


def _in_full(table: RunTable, published: Mapping[str, Any]) -> str:
    """A table without the figures of single kinds, and the configuration of every row."""
    shown = markdown(dataclasses.replace(table.layout, more=""), published)
    lines = ["| row | `--config` |", "|---|---|"]
    for row in published["rows"]:
        if row["name"] in table.rows:
            spec = table.spec.format(config=table.config, argument=table.rows[row["name"]])
            lines.append(f"| {row['name']} | `{spec}` |")
    return "\n".join([shown.rstrip(), "", *lines])


def _chance(table: Mapping[str, Any]) -> str:
    """The controls of pointing that are the same of all rows."""
    runs = [run for row in table["rows"] for run in row["runs"]]
    patch, ball = (values_of(runs, f"validation/ball_{name}") for name in ("area_chance", "random_ball"))
    if not patch or not ball:
        return ""
    return (
        f"A random patch is right in {np.mean(patch):.3f} of the frames, a random visible ball in {np.mean(ball):.3f}."
    )


def _encoders(table: Mapping[str, Any]) -> str:
    """The encoders that the runs of connectors build on, by their fingerprints."""
    runs = [run for row in table["rows"] for run in row["runs"]]
    made = Counter(run["parts"]["vision"] for run in runs if run.get("parts"))
    counted = [f"{count} of the {len(runs)} runs build on the encoder {mark[:8]}" for mark, count in made.most_common()]
    if unknown := len(runs) - sum(made.values()):
        counted.append(
            f"{unknown} were made earlier on an encoder of the same configuration and seed, trained on another "
            f"machine, whose fingerprint was not kept"
        )
    return "; ".join(counted) + "."


def letter(place: int) -> str:
    """The letter of a claim's comparison, from a."""
    return chr(ord("a") + place)


def _verdicts(tested: Sequence[Tested]) -> str:
    lines = ["| claim | verdict |", "|---|---|"]
    for number, (claim, differences) in enumerate(tested, 1):
        lines.append(f"| {number}. {claim.title} | {verdict(differences)} |")
    return "\n".join(lines)


def _verdicts_in_short(tested: Sequence[Tested]) -> str:
    """The claims that are told, each with the comparison that its verdict rests on first; the others are counted."""
    lines, others = ["| claim | verdict | figure | difference, 95 % |", "|---|---|---|---|"], 0
    for number, (claim, differences) in enumerate(tested, 1):
        reached = verdict(differences)
        pairs = zip(claim.comparisons, differences, strict=True)
        deciding = next(((one, found) for one, found in pairs if found and found.verdict == reached), None)
        if reached in (Verdict.OPEN, Verdict.NOT_RUN) or deciding is None:
            others += 1
            continue
        one, found = deciding
        interval = f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
        lines.append(f"| {number}. {claim.title} | {reached} | {FIGURES[one.figure]} | {interval} |")
    return "\n".join([*lines, f"| {others} others | {Verdict.OPEN} | | |"])


def _claims(tested: Sequence[Tested]) -> str:
    """All claims; a mark for the comparisons that are told also when all are tested together."""
    marks = iter(told_together([found for _, differences in tested for found in differences]))
    parts = []
    for number, (claim, differences) in enumerate(tested, 1):
        parts.append(_claim(number, claim, differences, [next(marks) for _ in differences]))
    return "\n\n".join(parts)


def _counted(tables: Tables, tested: Sequence[Tested]) -> str:
    """Counts the comparisons, those that are told together, and the verdicts that depend on the prior."""
    found = [difference for one in tested for difference in one.differences]
    told = [one is not None and one.verdict != Verdict.OPEN for one in found]
    together = [a and b for a, b in zip(told, told_together(found), strict=True)]
    text = (
        f"The {len(found)} comparisons are tested one by one: {sum(told)} are told, {sum(together)} of them also when "
        f"all are tested together (Holm's method, marked with *)."
    )
    changed = []
    for prior in (PRIOR / 2, PRIOR * 2):
        for number, (claim, differences) in enumerate(tested, 1):
            other = verdict(compare(tables[claim.table], one, prior) for one in claim.comparisons)
            if other != verdict(differences):
                changed.append(f"{number} ({other} at {prior:g})")
    rest = f"change those of {', '.join(changed)}" if changed else "change no verdict"
    return f"{text} {PRIOR / 2:g} or {PRIOR * 2:g} degrees of freedom for the other rows instead of {PRIOR} {rest}."


def _claim(number: int, claim: Claim, differences: Sequence[Difference | None], marks: Sequence[bool]) -> str:
    """A claim with its comparisons."""
    lines = [f"### {number}. {claim.title}", "", claim.said, ""]
    lines += ["| | figure | row | other row | difference | 95 % | seeds | verdict |", "|---" * 8 + "|"]
    found = zip(claim.comparisons, differences, marks, strict=True)
    lines += [_comparison(f"{number}{letter(place)}", *one) for place, one in enumerate(found)]
    lines += ["", f"Verdict: **{verdict(differences)}**." + (f" {claim.note}" if claim.note else "")]
    return "\n".join(lines)


def _comparison(name: str, comparison: Comparison, difference: Difference | None, mark: bool) -> str:
    """A comparison as a row of a table."""
    figure, worse = FIGURES[comparison.figure], comparison.worse
    if comparison.control:
        figure += f", less {FIGURES[comparison.control]}"
    if comparison.allowed:
        figure += f", {comparison.allowed:g} allowed"
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
        seeds + ("" if not difference.over_clips else ", clip by clip" if difference.paired else ", clips apart"),
        str(difference.verdict) + (" *" if mark and difference.verdict != Verdict.OPEN else ""),
    )
    return f"| {' | '.join(cells)} |"


def _connectors_in_short(table: Mapping[str, Any]) -> str:
    columns = {"right": "answers right", "types/left_or_right": "left or right", "types/in_view": "in view",
               "types/hit": "hit", "types/first_hit": "first hit"}  # fmt: skip
    lines = [f"| connector | {' | '.join(columns.values())} | seeds |", "|---" * (len(columns) + 2) + "|"]
    for row in table["rows"]:
        cells = [_shown(row["runs"], key, 3 if key == "right" else 2) for key in columns]
        lines.append(f"| {row['name']} | {' | '.join(cells)} | {len(values_of(row['runs'], 'right'))} |")
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
        known = {name: values for key, name in controls.items() if (values := values_of(runs, key))}
        means = "; ".join(f"{np.mean(values):.3f}, {name}" for name, values in known.items())
        chance = "0.004, chance" if "R@1" in label else means
        lines.append(f"| {label} | {_shown(runs, seen, 3)} | {_shown(runs, unseen, 3)} | {chance} |")
    return "\n".join(lines)


def _kinds(table: Mapping[str, Any]) -> str:
    """The kinds of question of the demo that need the video, best first, and those that do not."""
    runs = _runs(table)
    names = dict.fromkeys(kind for run in runs for kind in run.get("types", ()))
    ranked = sorted(names, key=lambda kind: (kind in _WITHOUT_VIDEO, -np.mean(values_of(runs, f"types/{kind}"))))
    lines = ["| kind of question | right |", "|---|---|"]
    for kind in ranked:
        label = kind.replace("_", " ") + (", not in the mean" if kind in _WITHOUT_VIDEO else "")
        lines.append(f"| {label} | {_shown(runs, f'types/{kind}', 2)} |")
    return "\n".join(lines)


def _runs(table: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The runs of a table of one row."""
    return [run for row in table["rows"] for run in row["runs"]]


def _shown(runs: Sequence[Mapping[str, Any]], figure: str, digits: int) -> str:
    """The mean of the seeds, with the smallest and the largest."""
    return cell(values_of(runs, figure), digits) or page.MISSING
