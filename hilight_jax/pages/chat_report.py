"""The report of a chat run: clips with answers, answers by kind beside their controls, their confidence, and origins.

Also reads `provenance.json`, the runs that trained the parts that this one starts from.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.pages import heatmaps, page
from hilight_jax.pages.charts import line_chart
from hilight_jax.pages.confidence import confidence_section
from hilight_jax.pages.measured_evidence import evidence_section
from hilight_jax.pages.page import share, text
from hilight_jax.pages.report import Report, Results, checkpoint, examples_section, left_out, points, read_result

_STAGES = {
    "align": "token mining learns to speak to the language model",
    "tune": "the language model is tuned to the domain",
}
# Titles of the controls by their names in the results.
_CONTROLS = {
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


@dataclass(frozen=True)
class AskedClips:
    """A conversation's clips with the questions about them and their answers."""

    name: str
    clips: Sequence[np.ndarray]  # uint8 [F, Y, X, 3] each
    answers: Sequence[Mapping[str, Any]]  # 'question', 'answer', 'truth' and 'right'


def write_chat_report(
    workdir: Path,
    records: Sequence[Mapping[str, float]],
    examples: Sequence[AskedClips] = (),
    drawn_from: str = "",
    overrides: Sequence[str] | None = (),
) -> Path:
    """Writes the report of a run of `align` or `tune` anew and returns the path of its index.html; see `Report`.

    The checkpoint `drawn_from` answered the questions about the held-out `examples`.
    """
    report = Report(workdir, records, overrides)
    stage = report.config.get("stage", "")
    return report.write(
        f"HiLight chat model, stage <em>{text(stage)}</em> ({_STAGES.get(stage, 'unknown')})",
        [tile for result in report.evaluations for tile in _tiles(result)],
        before=[
            _examples(report.folder, examples, drawn_from),
            _answers(report.evaluations),
            confidence_section(report.evaluations),
            evidence_section(report.evaluations),
        ],
        charts=_charts(records),
        after=[_parts(workdir, report.folder)],
    )


def _tiles(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Answers of one evaluation: over all questions, the mean over the kinds that need the video, and calibration."""
    about = f"{result['split']}, {checkpoint(result)}"
    items = [("Answers right", share(result["overall"]["normalised"]), _beside(result["overall"], about))]
    needs = result["needs_video"]
    if needs["normalised"] is not None:
        what = f"{len(needs['types'])} kinds that need the video, {about}"
        items.append(("Answers that need the video", share(needs["normalised"]), _beside(needs, what)))
    if (calibration := result.get("calibration")) is not None:
        whole = calibration["overall"]
        beside = f"{share(whole['error_before'], 3)} before, {share(whole['error_if_calibrated'], 3)} if calibrated"
        title = f"{about}: {beside}; temperature {calibration['temperature']:.2f}"
        items.append(("Calibration error", share(whole["error_after"], 3), title))
    return items


def _beside(group, about):
    controls = [f"{title} {share(group[name])}" for name, title in _CONTROLS.items() if group[name] is not None]
    return f"{about}: {', '.join(controls)}"


def _examples(folder, examples, drawn_from):
    cards = []
    for i, example in enumerate(examples):
        pictures = []
        for j, clip in enumerate(example.clips):
            path, alternative = folder / f"asked{i}-clip{j}.gif", f"clip {j + 1} of {example.name}"
            pictures.append(heatmaps.save_clip(path, heatmaps.enlarge(clip), alternative))
        rows = [[text(item["question"]), _answer(item), text(item["truth"])] for item in example.answers]
        cards.append(
            f'<div class="clip"><div class="pictures">{"".join(pictures)}</div>'
            f'{page.table(("question", "answer", "truth"), rows)}<p class="note">{text(example.name)}</p></div>'
        )
    words = "; the first questions about each, answers as they came."
    return examples_section("What it answers", words, cards, drawn_from)


def _answer(item):
    sign = "✓" if item["right"] else "✗"
    return f'<span class="{"right" if item["right"] else "wrong"}">{sign}</span> {text(item["answer"]) or "–"}'


def _answers(results: Results) -> str:
    """Every kind of question of every evaluation, with its controls; yes and no; the kinds that need the video."""
    if not results:
        return page.section("Answers", page.note(f"Evaluation: {page.MISSING}."))
    header = ("question", "right", *_CONTROLS.values(), "letter by letter", "refused", "unheard of", "questions")
    parts = []
    for result in results:
        rows = [_row(kind.replace("_", " "), group) for kind, group in result["types"].items()]
        rows.append(_row("all questions", result["overall"]))
        title = f"{result['name']}: {result['conversations']} conversations about {result['clips']} clips"
        parts += [f"<h3>{text(title)}, {text(checkpoint(result))}</h3>", page.table(header, rows)]
        skipped = left_out(f"{len(result['skipped'])} conversations or questions left out", result["skipped"])
        parts += [_needs_video(result["needs_video"]), skipped]
    rules = (
        "An answer is right when it equals the truth after both are normalised (case, punctuation, articles, number "
        "words; of yes and no the first word counts); small figures: 95 % bootstrap interval over clips. Beside it, "
        f"what {_CONTROLS['most_frequent']} of {results[0]['frequent_from']} to this kind of question, or to this very "
        "question, would score, and the same model when it is shown the clip of the conversation before. Refused: "
        "empty, or a stock phrase of not knowing. Unheard of: an answer that training never gives to this kind of "
        "question."
    )
    return page.section("Answers", *parts, page.note(rules), _yes_no(results))


def _row(name, group):
    low, high = group["interval"]
    right = f"<strong>{share(group['normalised'], 3)}</strong> <small>{share(low)}–{share(high)}</small>"
    controls = [None if group[name] is None else share(group[name], 3) for name in _CONTROLS]
    if group["frequent_answer"]:
        controls[0] = f"{controls[0]} <small>{text(group['frequent_answer'])}</small>"
    others = [share(group[name], 3) for name in ("exact", "refused", "unheard")]
    return [text(name), right, *controls, *others, str(group["questions"])]


def _needs_video(needs):
    """The mean over the kinds of question that need the video, and its margins over the controls."""
    if needs["normalised"] is None:
        return page.note("No kind of question needs the video.")
    above = ", ".join(
        f"{100 * needs['margins'][name]:+.1f} points on '{title}' ({share(needs[name], 3)})"
        for name, title in _CONTROLS.items()
        if needs[name] is not None
    )
    words = f"Kinds whose answer needs the video: {', '.join(needs['types'])}. Mean {share(needs['normalised'], 3)}"
    if interval := needs.get("interval"):
        words += f" (95 % interval over clips {share(interval[0], 3)}–{share(interval[1], 3)})"
    given = ", ".join(needs["given_away_by_question"])
    return page.note(f"{words}: {above}." + (f" Given away by the question: {given}." if given else ""))


def _yes_no(results):
    rows = []
    for result in results:
        if (balance := result["yes_no"]) is not None:
            cells = [share(balance[name], 3) for name in _BALANCE]
            rows.append([text(result["name"]), *cells, str(balance["questions"])])
    return page.table(("yes or no", *_BALANCE.values(), "questions"), rows) if rows else ""


def _charts(records):
    """One chart per kind of validation figure: the loss, and the shares."""
    names = sorted({name for record in records for name in record if name.startswith("validation/")})
    figures = {name.removeprefix("validation/"): points(records, name) for name in names}
    losses = {name: values for name, values in figures.items() if "loss" in name}
    shares = {name: values for name, values in figures.items() if "loss" not in name}
    return [line_chart("Validation loss", losses), line_chart("Validation, truth given so far", shares, low=0.0)]


def _parts(workdir, folder):
    """The runs that trained this run's other parts, with links to their reports."""
    origins = read_result(workdir / "provenance.json")
    if not origins:
        return ""
    rows = []
    for part, origin in origins.items():
        other = Path(origin["workdir"]) / "report" / "index.html"
        name = f"<code>{text(origin['workdir'])}</code>"
        if other.is_file():
            name = f'<a href="{text(Path(os.path.relpath(other, folder)).as_posix())}">{name}</a>'
        rows.append([text(part), name, str(origin["step"])])
    words = "Parts that other runs trained, and that this one starts from or leaves as they are."
    return page.section("Where its parts come from", page.table(("part", "run", "step"), rows), page.note(words))
