"""The measured evidence of answers on a report: its share on the asked-about balls, and what hiding it changes."""

from collections.abc import Mapping, Sequence
from typing import Any

from hilight_jax.pages import page
from hilight_jax.pages.page import share, text

_HEADER = (
    "question", "on asked-about balls", "their area", "another clip shown", "changed by hiding it", "hiding at random",
    "hiding other balls", "ratio", "questions",
)  # fmt: skip


def evidence_section(results: Sequence[Mapping[str, Any]]) -> str:
    """The table of every evaluation that has an `evidence`; empty without one."""
    parts = []
    for result in results:
        if (evidence := result.get("evidence")) is None:
            continue
        rows = [_row(kind.replace("_", " "), group) for kind, group in evidence["types"].items()]
        whole = evidence["overall"]
        parts += [
            f"<h3>{text(result['name'])}</h3>",
            page.table(_HEADER, [*rows, _row("all questions", whole)]),
            page.note(
                f"The first {evidence['per_kind']} questions of each kind that name a ball which is seen, about "
                f"{evidence['clips']} clips; {whole['hidden']:.1f} patches of a frame are hidden in the mean."
            ),
        ]
    if not parts:
        return ""
    rules = (
        "Evidence: what the clip's patches contributed to the answer's probability, to first order. On asked-about "
        "balls: its share on the patches of the balls that the question or its true answer names. Beside it the share "
        "of those patches among all, and the share on the same places when the model is shown another clip. Changed: "
        "answers that are another one when the patches with the most evidence get the mean colour of their frame; as "
        "many patches at random, and as many on other balls first, are the controls. Ratio: changed by hiding evidence "
        "over changed at random. Small figures: 95 % bootstrap interval over clips."
    )
    return page.section("Does the evidence hold?", *parts, page.note(rules))


def _row(name: str, group: Mapping[str, Any]) -> list[str]:
    on_balls = f"<strong>{share(group['share'], 3)}</strong> <small>{_bounds(group['share_interval'], 2)}</small>"
    figures = [
        share(group[name], 3) for name in ("area", "other_clip", "changed", "changed_random", "changed_other_balls")
    ]
    ratio = f"<strong>{share(group['ratio'], 1)}</strong> <small>{_bounds(group['ratio_interval'], 1)}</small>"
    return [text(name), on_balls, *figures, ratio, str(group["questions"])]


def _bounds(interval: Sequence[float | None], digits: int) -> str:
    return "–".join("?" if bound is None else f"{bound:.{digits}f}" for bound in interval)
