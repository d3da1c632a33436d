"""Results as text for a terminal: an encoder's retrieval and grounding, a chat model's answers, with their controls."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hilight_jax.evals.answer_scores import CONTROLS, FIRST_FRAME, WORDINGS, Answered
from hilight_jax.evals.retrieval import RECALLS

_COLUMNS = ("right", "exact", "frequent", "question", "other clip", "refused", "unheard", "questions")
_FIGURES = ("normalised", "exact", *CONTROLS, "refused", "unheard")
_CONFIDENCES = (
    "error_before", "error_after", "error_if_calibrated", "confidence_before", "confidence_after", "right",
)  # fmt: skip
_RECALL_NAMES = tuple(f"R@{k}" for k in RECALLS)


def encoder_tables(result: Mapping[str, Any]) -> str:
    """Retrieval and grounding of one source, as `evaluate_encoder` returns them."""
    lines = [f"{result['name']}: {result['clips']} clips, {result['captions']} captions of {result['source']}"]
    shuffled = ", positions of patches shuffled" if result.get("shuffled") else ""
    lines.append(f"checkpoint: step {result['step']}, {result['which']}{shuffled}")
    if result["skipped"]:
        named = "; ".join(f"{clip['id']}: {clip['reason']}" for clip in result["skipped"][:5])
        more = "; ..." if len(result["skipped"]) > 5 else ""
        lines.append(f"left out: {len(result['skipped'])} clips ({named}{more})")
    lines += ["", _encoder_row("retrieval", (*_RECALL_NAMES, "median", "mean", "R@1, 95 %"))]
    for way in ("plain", "words", "dsl_clip_vip", "dsl_both_ways"):
        for direction, ranks in result["retrieval"].get(way, {}).items():
            figures = [f"{ranks[name]:.3f}" for name in _RECALL_NAMES]
            ends = [f"{ranks['median_rank']:g}", f"{ranks['mean_rank']:.1f}"]
            ends += [_bounds(ranks["interval"])] if "interval" in ranks else []
            lines.append(_encoder_row(f"{direction.replace('_', ' ')}, {way}", (*figures, *ends)))
    lines += _swaps(result.get("swaps")) + _abstract_phrases(result.get("abstract_phrases"))
    classes = result["grounding"]["classes"]
    if not classes:
        return "\n".join([*lines, "", "grounding: not run, the captions name no thing whose place is known", ""])
    columns = ("pointing", "rnd patch", "rnd ball", "shuffled", "any ball", "soft IoU", "uniform", "questions")
    names = ("pointing", "area_chance", "random_ball", "shuffled_word", "any_ball", "soft_iou", "soft_iou_uniform")
    lines += ["", _encoder_row(f"grounding ({result['grounding']['similarity']})", columns)]
    for kind, group in classes.items():
        title = kind.replace("_", " ")
        lines.append(_encoder_row(title, (*(f"{group[name]:.3f}" for name in names), str(group["questions"]))))
    levels = " + ".join(result["map_levels"])
    lines += ["", f"maps of the level: {levels}; cushions and cloth, which are no one place, are left out"]
    if levels := result["grounding"]["levels"]:
        lines += ["", _encoder_row("ball, by one level alone", ("pointing", "rnd patch", "rnd ball"))]
        controls = [f"{classes['ball'][name]:.3f}" for name in ("area_chance", "random_ball")]
        lines += [_encoder_row(name, (f"{pointing:.3f}", *controls)) for name, pointing in levels.items()]
    return "\n".join([*lines, *_places(result["grounding"].get("places")), ""])


def _swaps(swaps: Mapping[str, Any] | None) -> list[str]:
    """Captions against false ones that differ in two balls."""
    if swaps is None:
        return []
    figures = (f"{swaps['right']:.3f}", _bounds(swaps["interval"]), "0.500", f"{swaps['other_clip']:.3f}")
    columns = ("right", "95 %", "chance", "next clip", "pairs")
    row = _encoder_row("caption above its swap", (*figures, str(swaps["pairs"])))
    return ["", _encoder_row("swapped balls", columns), row]


def _abstract_phrases(phrases: Mapping[str, Any] | None) -> list[str]:
    """Captions that differ in an abstract phrase alone."""
    if phrases is None:
        return []
    figures = (f"{phrases['right']:.3f}", _bounds(phrases["interval"]), f"{phrases['most_frequent']:.3f}")
    figures += (f"{phrases['R@1']:.3f}", f"{phrases['R@1_rephrased']:.3f}", str(phrases["captions"]))
    columns = ("right", "95 %", "frequent", "R@1", "R@1, next", "captions")
    row = _encoder_row(f"caption nearest of {phrases['phrases']}", figures)
    return ["", _encoder_row("last sentence abstract", columns), row]


def _places(places: Mapping[str, Any] | None) -> list[str]:
    """Errors of places in pixels, and the threshold from which a thing counts as seen."""
    if places is None:
        return []
    lines = ["", _encoder_row("place, px of the model's frame", ("median", "9 of 10", "patch", "on thing", "frames"))]
    for kind, group in places["classes"].items():
        errors = (f"{group[name]:.2f}" for name in ("median_error", "ninth_decile", "patch_centre"))
        lines.append(_encoder_row(kind.replace("_", " "), (*errors, f"{group['on_thing']:.3f}", str(group["frames"]))))
    asked = f"{places['measured_on']} frames, {places['share_seen']:.0%} of which show the thing"
    seen = (
        f"seen from a cosine of {places['threshold']:.3f} on, fitted on half of the clips; on the others precision "
        f"{places['precision']:.3f}, recall {places['recall']:.3f}, false alarms {places['false_alarms']:.3f} ({asked})"
    )
    return [*lines, *textwrap.wrap(seen, 120, break_on_hyphens=False)]


def answer_tables(result: Mapping[str, Any]) -> str:
    """Answers of one source, as `evaluate_video_qa` or `score_predictions` returns them."""
    lines = [f"{result['name']}: {result['questions']} questions of {result['source']}"]
    if "step" in result:
        about = f"{result['conversations']} conversations about {result['clips']} clips"
        lines.append(f"checkpoint: step {result['step']}, {result['which']}; {about}")
    if result.get("skipped"):
        more = ", ..." if len(result["skipped"]) > 5 else ""
        named = ", ".join(name.rstrip(".") for name in result["skipped"][:5])
        lines.append(f"left out: {len(result['skipped'])} conversations or questions ({named}{more})")
    if result.get("unanswered"):
        lines.append(f"without a prediction, and so wrong: {result['unanswered']} questions")
    lines += ["", _row("answers right", _COLUMNS)]
    lines += [_group(kind.replace("_", " "), group) for kind, group in result["types"].items()]
    if "free" in result:
        lines.append(_group("free (types 3 to 8)", result["free"]))
    lines += [_group("all questions", result["overall"]), *_needs_video(result["needs_video"]), ""]
    lines += [*_wordings(result), *_first_frames(result)]
    if balance := result["yes_no"]:
        lines.append(_row("yes and no", ("right", "of answers", "of truths")))
        for word, truths in (("yes", balance["truth_yes"]), ("no", 1 - balance["truth_yes"])):
            lines.append(_row(word, map(_share, (balance[f"right_{word}"], balance[f"answer_{word}"], truths))))
        lines += [_row("neither", ("", _share(balance["answer_neither"]), "")), ""]
    lines += _calibration(result.get("calibration"))
    legend = (
        f"right: equal after normalisation. frequent: always the most frequent answer of {result['frequent_from']} to "
        "this kind of question; question: to this very question; other clip: the same model shown another clip; "
        "unheard: answered as training never answers this kind of question."
    )
    return "\n".join([*lines, *textwrap.wrap(legend, 120, break_on_hyphens=False), ""])


def asked_table(answered: Sequence[Answered]) -> str:
    """Questions, each above its answer and the truth, for a terminal."""
    lines = []
    for item in answered:
        mark = "right" if item.score == 1 else "wrong" if item.score == 0 else f"{item.score:.2f} of it right"
        said = " ".join(item.answer.split())
        lines += [f"question  {item.question}", f"  answer  {said}", f"  truth   {item.truth}  ({mark})", ""]
    return "\n".join(lines)


def _wordings(result: Mapping[str, Any]) -> list[str]:
    """Right answers to questions in trained and in held-out words, where these are known."""
    groups = [*result["types"].items(), ("all questions", result["overall"])]
    known = {kind: group["wordings"] for kind, group in groups if group["wordings"]}
    if not known:
        return []
    lines = [_row("right, by wording", ("trained", "held out", "difference", "questions", "questions"))]
    for kind, wordings in known.items():
        shares = [_share(wordings[name]) for name in WORDINGS]
        difference = "-" if wordings["difference"] is None else f"{wordings['difference']:+.3f}"
        counts = [str(wordings[f"{name}_questions"]) for name in WORDINGS]
        lines.append(_row(kind.replace("_", " "), (*shares, difference, *counts)))
    return [*lines, ""]


def _first_frames(result: Mapping[str, Any]) -> list[str]:
    """Right answers of the model that is shown the first frame only, where that was asked."""
    known = {kind: group for kind, group in result["types"].items() if group[FIRST_FRAME] is not None}
    lines = [_row("right, without motion", ("all frames", "first frame", "questions"))] if known else []
    for kind, group in known.items():
        figures = (_share(group["normalised"]), _share(group[FIRST_FRAME]), str(group["questions"]))
        lines.append(_row(kind.replace("_", " "), figures))
    return [*lines, ""] if lines else []


def _calibration(calibration: Mapping[str, Any] | None) -> list[str]:
    """The calibration error by kind of question, before and after the temperature."""
    if calibration is None:
        return []
    columns = ("error before", "error", "if calibr.", "sure before", "sure", "right", "questions")
    lines = [_row("calibration", columns)]
    for kind, group in [*calibration["types"].items(), ("all questions", calibration["overall"])]:
        figures = [_share(group[figure]) for figure in _CONFIDENCES]
        lines.append(_row(kind.replace("_", " "), (*figures, str(group["questions"]))))
    fitted, measured = (
        f"{calibration[half]['questions']} answers ({calibration[half]['clips']} clips)"
        for half in ("fitted_on", "measured_on")
    )
    words = f"temperature {calibration['temperature']:.3f}, fitted on {fitted}; the figures are of {measured}"
    return [*lines, words, ""]


def _needs_video(needs: Mapping[str, Any]) -> list[str]:
    """The kinds of question that need the video, their means, and the margins over the controls."""
    if not needs["types"]:
        return ["no kind of question needs the video"]
    count = f"{len(needs['types'])} kinds"
    figures = [needs["normalised"], None, *(needs[name] for name in CONTROLS)]
    lines = [_row("mean, needs the video", (*map(_share, figures), "", "", count))]
    margins = [None, None, *(needs["margins"][name] for name in CONTROLS)]
    if interval := needs.get("interval"):
        lines.append(_row("  95 % over clips", (_bounds(interval),)))
    lines.append(_row("  above the control", ["" if value is None else f"{value:+.3f}" for value in margins]))
    lines.append(f"need the video: {', '.join(needs['types'])}")
    if needs["given_away_by_question"]:
        lines.append(f"given away by the question: {', '.join(needs['given_away_by_question'])}")
    return lines


def _group(name: str, group: Mapping[str, Any]) -> str:
    return _row(name, (*(_share(group[figure]) for figure in _FIGURES), str(group["questions"])))


def _bounds(interval: Sequence[float]) -> str:
    return f"{interval[0]:.2f}-{interval[1]:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _encoder_row(name: str, cells: Iterable[str]) -> str:
    return _row(name, cells, name_width=30, cell_width=10)


def _row(name: str, cells: Iterable[str], name_width: int = 24, cell_width: int = 12) -> str:
    return f"{name:<{name_width}}{''.join(f'{cell:>{cell_width}}' for cell in cells)}".rstrip()
