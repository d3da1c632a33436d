"""The measured evidence of answers as text for a terminal."""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

_COLUMNS = (
    "on balls", "area", "other clip", "changed", "random", "other balls", "ratio", "questions",
)  # fmt: skip
_FIGURES = ("share", "area", "other_clip", "changed", "changed_random", "changed_other_balls")


def evidence_table(evidence: Mapping[str, Any]) -> str:
    """The figures of `evaluate_evidence` by kind of question, with a legend."""
    whole = evidence["overall"]
    lines = [_row("evidence", _COLUMNS)]
    groups = [*evidence["types"].items(), ("all questions", whole)]
    lines += [_row(kind.replace("_", " "), _cells(group)) for kind, group in groups]
    low, high = (_figure(bound) for bound in whole["share_interval"])
    fewest, most = (_figure(bound, 1) for bound in whole["ratio_interval"])
    lines.append(f"95 % intervals over {evidence['clips']} clips: on balls {low} to {high}, ratio {fewest} to {most}")
    if evidence["skipped"]:
        lines.append(f"left out: {len(evidence['skipped'])} questions, such as {evidence['skipped'][0].rstrip('.')}")
    legend = (
        "on balls: the share of an answer's evidence on the balls that the question is about; area: their share of the "
        "patches; other clip: the same places in the evidence of another clip. changed: answers that change when the "
        f"patches with the most evidence are hidden, {whole['hidden']:.1f} of a frame in the mean; random: as many at "
        "random; other balls: as many on other balls first; ratio: changed over random."
    )
    return "\n".join([*lines, *textwrap.wrap(legend, 120, break_on_hyphens=False), ""])


def _cells(group: Mapping[str, Any]) -> list[str]:
    return [*(_figure(group[name]) for name in _FIGURES), _figure(group["ratio"], 1), str(group["questions"])]


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _row(name: str, cells: Iterable[str]) -> str:
    return f"{name:<24}{''.join(f'{cell:>12}' for cell in cells)}".rstrip()
