"""The results of an encoder as text: retrieval and grounding with their controls."""

from collections.abc import Iterable, Mapping
from typing import Any

from hilight_jax.evals.retrieval import RECALLS

_RECALL_NAMES = tuple(f"R@{k}" for k in RECALLS)


def encoder_tables(result: Mapping[str, Any]) -> str:
    """Retrieval and grounding of one source, as `evaluate_encoder` gives them, for a terminal."""
    lines = [f"{result['name']}: {result['clips']} clips, {result['captions']} captions of {result['source']}"]
    lines.append(f"checkpoint: step {result['step']}, {result['which']}")
    if result["skipped"]:
        named = "; ".join(f"{clip['id']}: {clip['reason']}" for clip in result["skipped"][:5])
        more = "; ..." if len(result["skipped"]) > 5 else ""
        lines.append(f"left out: {len(result['skipped'])} clips ({named}{more})")
    lines += ["", _row("retrieval", (*_RECALL_NAMES, "median", "mean"))]
    for way in ("plain", "dsl_clip_vip", "dsl_both_ways"):
        for direction, ranks in result["retrieval"][way].items():
            figures = [f"{ranks[name]:.3f}" for name in _RECALL_NAMES]
            ends = [f"{ranks['median_rank']:g}", f"{ranks['mean_rank']:.1f}"]
            lines.append(_row(f"{direction.replace('_', ' ')}, {way}", (*figures, *ends)))
    classes = result["grounding"]["classes"]
    if not classes:
        return "\n".join([*lines, "", "grounding: not run, the captions name no thing whose place is known", ""])
    columns = ("pointing", "rnd patch", "rnd ball", "shuffled", "any ball", "soft IoU", "uniform", "questions")
    names = ("pointing", "area_chance", "random_ball", "shuffled_word", "any_ball", "soft_iou", "soft_iou_uniform")
    lines += ["", _row(f"grounding ({result['grounding']['similarity']})", columns)]
    for kind, group in classes.items():
        title = kind.replace("_", " ")
        lines.append(_row(title, (*(f"{group[name]:.3f}" for name in names), str(group["questions"]))))
    lines += [
        "",
        f"maps of the level: {' + '.join(result['map_levels'])}; cushions, which are no one place, are left out",
    ]
    if levels := result["grounding"]["levels"]:
        lines += ["", _row("ball, by one level alone", ("pointing", "rnd patch", "rnd ball"))]
        controls = [f"{classes['ball'][name]:.3f}" for name in ("area_chance", "random_ball")]
        lines += [_row(name, (f"{pointing:.3f}", *controls)) for name, pointing in levels.items()]
    return "\n".join([*lines, ""])


def _row(name: str, cells: Iterable[str]) -> str:
    return f"{name:<30}" + "".join(f"{cell:>10}" for cell in cells)
