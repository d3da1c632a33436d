"""Scores a file of answers by any model on the published question-answering sets; reads no model and no video.

```
msvd_qa:test_qa.json              [{"id": 0, "video_id": 1301, "question": "...", "answer": "..."}, ...]
msrvtt_qa:test_qa.json            the same, with "category_id" (Xu et al., MM 2017)
activitynet_qa:test_a.json        [{"question_id": "v_..._3", "type": 3, "answer": "no"}, ...], and beside it, in
                                  test_q.json, [{"question_id", "video_name", "question"}, ...] (Yu et al., AAAI 2019)
```

``train=train_qa.json`` (``train_a.json``) adds the training answers, for the controls; ``questions=``
names ActivityNet's file of questions where it is not the one beside. Kinds of questions are those of the papers: the
first word (what, who, how, when, where) for MSVD and MSRVTT, nine numbered types for ActivityNet-QA, whose types 3 to 8
are also scored together as *free*.

Predictions are JSON lines or one JSON list of objects with ``question_id`` or ``id``, and ``pred``, ``prediction`` or
``answer``, the first of these that any object of the file has (files that keep the truth in ``answer`` have ``pred``
beside it, and an object without it is no prediction of the truth). Every question counts: one without a prediction is
wrong, as in ActivityNet-QA's own evaluation.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from hilight_jax.core.errors import DataError, nearest
from hilight_jax.data.annotation_files import read_json, read_json_lines
from hilight_jax.evals.answer_scores import Answered, figures, summarise_answers
from hilight_jax.evals.known_answers import KnownAnswers, Question

FIRST_WORDS = ("what", "who", "how", "when", "where")
ACTIVITYNET_TYPES = (
    "motion", "spatial relationship", "temporal relationship",
    "yes/no", "color", "object", "location", "number", "other",
)  # fmt: skip
FREE = ACTIVITYNET_TYPES[3:]
_ANSWER_KEYS = ("pred", "prediction", "answer")
# Keys that may stand beside an answer: those of the published sets, and of the answers that `evaluate` writes.
_KEYS_BESIDE = {"question_id", "id", "video_id", "video_name", "category_id", "truth", "right", *Answered._fields}


class Entry(NamedTuple):
    """A question of a published set, with its video."""

    id: str
    video: str
    question: Question


def score_predictions(path: str, specification: str) -> dict[str, Any]:
    """Scores a file of predictions on a published set, ``KIND:FILE[,train=FILE][,questions=FILE]``.

    Returns:
      ``{'questions', 'unanswered', 'frequent_from', 'overall', 'types', 'yes_no', 'needs_video', 'answers'}`` as
      `evaluate_video_qa` gives them; for ActivityNet-QA also 'free', the figures of types 3 to 8 together.

    Raises:
      DataError: a file has another form, or predictions answer questions that the set does not have, or twice.
    """
    kind, file, options = _parse(specification)
    entries = KINDS[kind](file, options.get("questions"))
    train = KINDS[kind](options["train"], None) if "train" in options else entries
    known = KnownAnswers((entry.question for entry in train), options.get("train"))
    predictions = read_predictions(path)
    ids = {entry.id for entry in entries}
    strange = [name for name in predictions if name not in ids]
    if strange:
        raise DataError(
            f"{path} answers {len(strange)} questions that {file} does not have, '{strange[0]}' first; give the "
            "predictions of this very file."
        )
    answered = []
    for number, (name, video, question) in enumerate(entries):
        answer = predictions.get(name, "")
        heard, controls = known.heard(answer, question.type), known.controls(question)
        fields = (question.type, question.text, question.truth)
        answered.append(Answered(name, number, video, *fields, answer, heard, controls))
    result = {
        "questions": len(answered),
        "unanswered": len(ids) - len(predictions),
        "frequent_from": known.name,
        **summarise_answers(answered),
        "answers": [item.as_json() for item in answered],
    }
    free = [item for item in answered if item.type in FREE]
    return result | {"free": figures(free)} if kind == "activitynet_qa" and free else result


def read_predictions(path: str) -> dict[str, str]:
    """Answers by the id of their question, in the order of the file; see the module for its forms.

    Raises:
      DataError: an entry lacks its id or answer, one id occurs twice, or the key of the answers is ambiguous.
    """
    found: dict[str, str] = {}
    entries = list(_entries(path))
    answer_key = next((key for key in _ANSWER_KEYS if any(key in entry for _, entry in entries)), "pred")
    for where, entry in entries:
        name = next((str(entry[key]) for key in ("question_id", "id") if key in entry), None)
        answer = entry.get(answer_key)
        if name is None or not isinstance(answer, str):
            raise DataError(
                f"{where}: a prediction needs 'question_id' or 'id', and a string in '{answer_key}', where this file "
                f"has its answers; it has {', '.join(map(str, entry)) or 'nothing'}."
            )
        unknown = [key for key in entry if key not in _KEYS_BESIDE]
        if answer_key == "answer" and unknown:
            raise DataError(
                f"{where}: '{unknown[0]}' stands beside 'answer', so 'answer' may be the truth; call the prediction "
                f"'pred', or take '{unknown[0]}' out."
            )
        if name in found:
            raise DataError(f"{where}: question '{name}' was answered before; keep one answer of each question.")
        found[name] = answer
    return found


def _first_word_entries(path: str, questions: str | None) -> list[Entry]:
    """MSVD-QA and MSRVTT-QA."""
    if questions:
        raise DataError(f"'questions' is an option of activitynet_qa only; {path} holds its questions itself.")
    entries = []
    for where, entry in _entries(path):
        name, video, words, answer = _required(entry, ("id", "video_id", "question", "answer"), where)
        first = words.lower().partition(" ")[0]
        entries.append(Entry(name, video, Question(words, answer, first if first in FIRST_WORDS else "other")))
    return _unique(entries, path)


def _activitynet_entries(path: str, questions: str | None) -> list[Entry]:
    """ActivityNet-QA: types and answers of one file, words of another."""
    beside = pathlib.Path(path)
    questions = questions or str(beside.with_name(beside.name.replace("_a.json", "_q.json")))
    if questions == path or not pathlib.Path(questions).is_file():
        raise DataError(
            f"the questions that {path} answers are not beside it; name them: "
            f"activitynet_qa:{path},questions=test_q.json."
        )
    words = {}
    for where, entry in _entries(questions):
        name, video, text = _required(entry, ("question_id", "video_name", "question"), where)
        words[name] = video, text
    entries = []
    for where, entry in _entries(path):
        name, answer, number = _required(entry, ("question_id", "answer", "type"), where)
        if number not in map(str, range(len(ACTIVITYNET_TYPES))):
            raise DataError(f"{where}: 'type' is {number}, but must be a whole number from 0 to 8.")
        if name not in words:
            raise DataError(f"{where}: {questions} has no question '{name}'.")
        video, text = words[name]
        entries.append(Entry(name, video, Question(text, answer, ACTIVITYNET_TYPES[int(number)])))
    return _unique(entries, path)


KINDS: dict[str, Callable[[str, str | None], list[Entry]]] = {
    "msvd_qa": _first_word_entries,
    "msrvtt_qa": _first_word_entries,
    "activitynet_qa": _activitynet_entries,
}


def _parse(specification: str) -> tuple[str, str, dict[str, str]]:
    head, *options = specification.split(",")
    kind, _, path = head.partition(":")
    if kind not in KINDS or not path:
        raise DataError(
            f"'{specification}' names no published question set; write KIND:FILE with KIND out of {', '.join(KINDS)}."
            f"{nearest(kind, KINDS)}"
        )
    for option in options:
        name, equals, _ = option.partition("=")
        if name not in ("train", "questions") or not equals:
            raise DataError(f"'{option}' in '{specification}' is no option; options: train=FILE, questions=FILE.")
    return kind, path, dict(option.split("=", 1) for option in options)


def _entries(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields ("FILE, entry 3", object) of a JSON list, or ("FILE, line 3", object) of JSON lines."""
    if path.endswith(".jsonl"):
        yield from read_json_lines(path)
        return
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(f"{path} must hold a JSON list of objects, or end in .jsonl and hold one object a line.")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise DataError(f"{path}, entry {number} must be an object, not {entry!r:.60}.")
        yield f"{path}, entry {number}", entry


def _required(entry: Mapping[str, Any], names: tuple[str, ...], where: str) -> list[str]:
    """The values of these keys as strings; published files have numbers among them."""
    for name in names:
        if not isinstance(entry.get(name), str | int):
            raise DataError(f"{where}: '{name}' must be a string or a whole number, not {entry.get(name)!r:.60}.")
    return [str(entry[name]) for name in names]


def _unique(entries: list[Entry], path: str) -> list[Entry]:
    ids: set[str] = set()
    for entry in entries:
        if entry.id in ids:
            raise DataError(f"{path}: the question '{entry.id}' occurs twice.")
        ids.add(entry.id)
    if not entries:
        raise DataError(f"{path} holds no questions.")
    return entries
