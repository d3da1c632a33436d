"""The results of a chat model as text: answers by kind of question, each beside what not looking would score."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hilight_jax.evals.answer_scores import CONTROLS, Answered
from hilight_jax.evals.answers import matches

_COLUMNS = ("right", "exact", "frequent", "question", "other clip", "refused", "unheard", "questions")
_FIGURES = ("normalised", "exact", *CONTROLS, "refused", "unheard")


def answer_tables(result: Mapping[str, Any]) -> str:
    """Answers of one source, as `evaluate_video_qa` or `score_predictions` gives them, for a terminal."""
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
    if balance := result["yes_no"]:
        lines.append(_row("yes and no", ("right", "of answers", "of truths")))
        for word, truths in (("yes", balance["truth_yes"]), ("no", 1 - balance["truth_yes"])):
            lines.append(_row(word, map(_share, (balance[f"right_{word}"], balance[f"answer_{word}"], truths))))
        lines += [_row("neither", ("", _share(balance["answer_neither"]), "")), ""]
    legend = (
        f"right: equal after normalisation. frequent: always the most frequent answer of {result['frequent_from']} to "
        "this kind of question; question: to this very question; other clip: the same model shown another clip; "
        "unheard: answered as training never answers this kind of question."
    )
    return "\n".join([*lines, *textwrap.wrap(legend, 120, break_on_hyphens=False), ""])


def asked_table(answered: Sequence[Answered]) -> str:
    """Questions with the answers and the truth, one under the other, for a terminal."""
    lines = []
    for item in answered:
        mark = "right" if matches(item.answer, item.truth) else "wrong"
        said = " ".join(item.answer.split())
        lines += [f"question  {item.question}", f"  answer  {said}", f"  truth   {item.truth}  ({mark})", ""]
    return "\n".join(lines)


def _needs_video(needs: Mapping[str, Any]) -> list[str]:
    """The kinds of question that need the video, their means, and the margins over the controls."""
    if not needs["types"]:
        return ["no kind of question needs the video"]
    count = f"{len(needs['types'])} kinds"
    figures = [needs["normalised"], None, *(needs[name] for name in CONTROLS)]
    lines = [_row("mean, needs the video", (*map(_share, figures), "", "", count))]
    margins = [None, None, *(needs["margins"][name] for name in CONTROLS)]
    lines.append(_row("  above the control", ["" if value is None else f"{value:+.3f}" for value in margins]))
    lines.append(f"need the video: {', '.join(needs['types'])}")
    if needs["given_away_by_question"]:
        lines.append(f"given away by the question: {', '.join(needs['given_away_by_question'])}")
    return lines


def _group(name: str, group: Mapping[str, Any]) -> str:
    return _row(name, (*(_share(group[figure]) for figure in _FIGURES), str(group["questions"])))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _row(name: str, cells: Iterable[str]) -> str:
    return f"{name:<24}{''.join(f'{cell:>12}' for cell in cells)}".rstrip()
