"""The sections of a chat model's report that show its answers: by kind of question, always beside the controls."""

from collections.abc import Mapping, Sequence
from typing import Any

from hilight_jax.pages import page
from hilight_jax.pages.evaluation_tables import checkpoint
from hilight_jax.pages.page import share, text

Results = Sequence[Mapping[str, Any]]

# Names of the controls in the results, and how they are called here.
CONTROLS = {
    "most_frequent": "most frequent answer",
    "question_only": "question alone",
    "other_clip": "another clip shown",
}
_BALANCE = {
    "truth_yes": "truth yes",
    "answer_yes": "says yes",
    "answer_no": "says no",
    "answer_neither": "says neither",
    "right_yes": "right if yes",
    "right_no": "right if no",
}


def tiles(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The big figures of one evaluation: all questions, and the mean over the kinds that need the video."""
    about = f"{result['split']}, {checkpoint(result)}"
    items = [("Answers right", share(result["overall"]["normalised"]), _beside(result["overall"], about))]
    needs = result["needs_video"]
    if needs["normalised"] is not None:
        what = f"{len(needs['types'])} kinds that need the video, {about}"
        items.append(("Answers that need the video", share(needs["normalised"]), _beside(needs, what)))
    return items


def answers(results: Results) -> str:
    """Every kind of question of every evaluation, with its controls; yes and no; the kinds that need the video."""
    if not results:
        return page.section("Answers", page.note(f"Evaluation: {page.MISSING}."))
    header = ("question", "right", *CONTROLS.values(), "letter by letter", "refused", "unheard of", "questions")
    parts = []
    for result in results:
        rows = [_row(kind.replace("_", " "), group) for kind, group in result["types"].items()]
        rows.append(_row("all questions", result["overall"]))
        title = f"{result['name']}: {result['conversations']} conversations about {result['clips']} clips"
        parts += [f"<h3>{text(title)}, {text(checkpoint(result))}</h3>", page.table(header, rows)]
        parts += [_needs_video(result["needs_video"]), _skipped(result)]
    rules = (
        "An answer is right when it equals the truth after both are normalised (case, punctuation, articles, number "
        "words; of yes and no the first word counts); small figures: 95 % bootstrap interval over clips. Beside it, "
        f"what {CONTROLS['most_frequent']} of {results[0]['frequent_from']} to this kind of question, or to this very "
        "question, would score, and the same model when it is shown the clip of the conversation before. Refused: "
        "empty, or a stock phrase of not knowing. Unheard of: an answer that training never gives to this kind of "
        "question."
    )
    return page.section("Answers", *parts, page.note(rules), _yes_no(results))


def _row(name, group):
    low, high = group["interval"]
    right = f"<strong>{share(group['normalised'], 3)}</strong> <small>{share(low)}–{share(high)}</small>"
    controls = [None if group[name] is None else share(group[name], 3) for name in CONTROLS]
    if group["frequent_answer"]:
        controls[0] = f"{controls[0]} <small>{text(group['frequent_answer'])}</small>"
    others = [share(group[name], 3) for name in ("exact", "refused", "unheard")]
    return [text(name), right, *controls, *others, str(group["questions"])]


def _needs_video(needs):
    """The mean over the kinds of question that need the video, and how far it lies above the controls."""
    if needs["normalised"] is None:
        return page.note("No kind of question needs the video.")
    above = ", ".join(
        f"{100 * needs['margins'][name]:+.1f} points on '{title}' ({share(needs[name], 3)})"
        for name, title in CONTROLS.items()
        if needs[name] is not None
    )
    words = f"Kinds whose answer needs the video: {', '.join(needs['types'])}. Mean {share(needs['normalised'], 3)}"
    given = ", ".join(needs["given_away_by_question"])
    return page.note(f"{words}: {above}." + (f" Given away by the question: {given}." if given else ""))


def _skipped(result):
    if not result["skipped"]:
        return ""
    items = "".join(f"<li>{text(name)}</li>" for name in result["skipped"])
    what = f"{len(result['skipped'])} conversations or questions left out"
    return f"<details><summary>{what}</summary><ul>{items}</ul></details>"


def _yes_no(results):
    rows = []
    for result in results:
        if (balance := result["yes_no"]) is not None:
            cells = [share(balance[name], 3) for name in _BALANCE]
            rows.append([text(result["name"]), *cells, str(balance["questions"])])
    return page.table(("yes or no", *_BALANCE.values(), "questions"), rows) if rows else ""


def _beside(group, about):
    controls = [f"{title} {share(group[name])}" for name, title in CONTROLS.items() if group[name] is not None]
    return f"{about}: {', '.join(controls)}"
