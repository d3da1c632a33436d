"""Scores of answered questions, by kind of question, beside those of controls that answer without the clip.

Every figure is a share of questions. A control is an answer of its own to the same question, scored by the same
normalised match:

- ``most_frequent``: always the most frequent training answer to this kind of question;
- ``question_only``: the most frequent training answer to this very question, and else to its kind;
- ``other_clip``: the same model's answer when it is shown another clip.

A kind of question *needs the video* when the question alone does not give its answer away: ``question_only`` is right
in less than `GIVEN_AWAY` of them. Where no training answers are known, every kind counts as needing it.

The rules of matching are the same for our own models and for foreign predictions. An answer matches *exactly* when it
equals the truth, white space at both ends aside: the rule of the published evaluators of ActivityNet-QA, MSVD-QA and
MSRVTT-QA. It matches *normalised* when both are equal after

1. Unicode NFKC and lower case;
2. dropping apostrophes, and putting a space for every character that is no letter, digit, or point or comma between
   two digits ("3-ball" and "3 ball" are the same, "1.5" stays);
3. dropping the articles a, an and the;
4. writing the number words from none and zero to twenty as digits;
5. joining what is left by single spaces.

A truth of which nothing is left can only be matched exactly. A truth that is only yes or no is also matched by an
answer that begins with that word ("Yes, it does."), unless it refuses ("No idea.") or has the other word as well ("Yes
and no."). An answer refuses when nothing is left of it, or when it holds one of a chat model's stock phrases
(`_REFUSALS`).
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hilight_jax.evals.grounding import bootstrap_interval

CONTROLS = ("most_frequent", "question_only", "other_clip")
GIVEN_AWAY = 0.9
UNTYPED = "all questions"  # The kind in reports of a source without kinds of questions.
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS.split())} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_APOSTROPHES = re.compile(r"['’‘`´]")
_NO_WORD = re.compile(r"(?<!\d)[.,]|[.,](?!\d)|[^\w.,]|_")
# Matched in the normalised answer, which has no apostrophes and articles.
_REFUSALS = re.compile(
    r"\b((can ?not|cant|could not|couldnt) (tell|say|see|determine|answer|know|identify|be determined)"
    r"|(do not|dont) know|(am|im) not sure|unable to|no idea|not (clear|enough information)|unclear|unknown"
    r"|impossible to (tell|say|determine)|sorry|as ai)\b"
)


class Answered(NamedTuple):
    """A question with the truth, the answer and those of the controls."""

    id: str  # of the question within its source
    index: int  # of its conversation in the source
    clip: str  # names its clips; questions about the same clips are not independent
    type: str  # kind of question, '' where unknown
    question: str
    truth: str
    answer: str
    heard: bool | None = None  # true if training answers this kind of question so; None where that is not known
    controls: Mapping[str, str] = {}  # answers of those of `CONTROLS` that were run

    def as_json(self) -> dict[str, Any]:
        """A flat object, ready for JSON; foreign tools read 'id' (or 'question_id') and 'answer'."""
        fields = self._asdict() | {"right": matches(self.answer, self.truth), "controls": dict(self.controls)}
        return {name: value for name, value in fields.items() if value is not None}


def summarise_answers(answered: Sequence[Answered]) -> dict[str, Any]:
    """Scores at least one question: all together, by kind, yes and no, and the kinds that need the video.

    Returns:
      ``{'overall': G, 'types': {type: G}, 'yes_no': Y, 'needs_video': V}``, ready for JSON. G: 'questions', 'exact',
      'normalised' and its 95 % bootstrap 'interval' over clips, 'refused', 'unheard' (answers that training never gives
      to this kind of question), one share per control, and 'frequent_answer'; None where something was not run. Y and
      V: see `balance` and `needs_video`.
    """
    kinds = list(dict.fromkeys(item.type for item in answered))
    types = {kind or UNTYPED: figures([item for item in answered if item.type == kind]) for kind in kinds}
    return {
        "overall": figures(answered),
        "types": types,
        "yes_no": balance(answered),
        "needs_video": needs_video(types),
    }


def figures(answered: Sequence[Answered]) -> dict[str, Any]:
    """The shares of one group of questions; see `summarise_answers`."""
    right = [matches(item.answer, item.truth) for item in answered]
    frequent = {item.controls.get("most_frequent") for item in answered}
    return {
        "questions": len(answered),
        "exact": _share(matches_exactly(item.answer, item.truth) for item in answered),
        "normalised": _share(right),
        "interval": _interval(right, [item.clip for item in answered]),
        "refused": _share(refuses(item.answer) for item in answered),
        "unheard": _share(not item.heard for item in answered if item.heard is not None),
        **{name: _control(answered, name) for name in CONTROLS},
        "frequent_answer": frequent.pop() if len(frequent) == 1 else None,
    }


def balance(answered: Sequence[Answered]) -> dict[str, Any] | None:
    """Yes and no in the answers against the truth, over questions whose truth is one of them; None without such.

    Returns:
      'questions'; 'truth_yes', 'answer_yes', 'answer_no' and 'answer_neither' (shares of these questions); 'right_yes'
      and 'right_no' (shares of the questions whose truth is yes, and no).
    """
    pairs = [(normalise(item.truth), yes_or_no(item.answer)) for item in answered]
    pairs = [pair for pair in pairs if pair[0] in ("yes", "no")]
    if not pairs:
        return None
    return {
        "questions": len(pairs),
        "truth_yes": _share(truth == "yes" for truth, _ in pairs),
        "answer_yes": _share(answer == "yes" for _, answer in pairs),
        "answer_no": _share(answer == "no" for _, answer in pairs),
        "answer_neither": _share(answer is None for _, answer in pairs),
        "right_yes": _share(answer == "yes" for truth, answer in pairs if truth == "yes"),
        "right_no": _share(answer == "no" for truth, answer in pairs if truth == "no"),
    }


def needs_video(types: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the kinds of question that need the video, every kind counting once.

    Returns:
      'types', 'given_away_by_question' (the other kinds), 'normalised', one mean per control, and 'margins': how far
      'normalised' lies above each control; None where a control was not run.
    """
    needing = [kind for kind, group in types.items() if (group["question_only"] or 0.0) < GIVEN_AWAY]
    means = {name: _mean([types[kind][name] for kind in needing]) for name in ("normalised", *CONTROLS)}
    margins = {name: None if means[name] is None else means["normalised"] - means[name] for name in CONTROLS}
    return {
        "types": needing,
        "given_away_by_question": [kind for kind in types if kind not in needing],
        **means,
        "margins": margins,
    }


def normalise(text: str) -> str:
    """Applies rules 1 to 5 to a text; empty when nothing is left."""
    text = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).lower())
    words = (word for word in _NO_WORD.sub(" ", text).split() if word not in _ARTICLES)
    return " ".join(_DIGITS.get(word, word) for word in words)


def matches_exactly(answer: str, truth: str) -> bool:
    """True if an answer equals the truth, letter by letter."""
    return answer.strip() == truth.strip()


def matches(answer: str, truth: str) -> bool:
    """True if an answer equals the truth after normalisation, or begins with the yes or no that the truth is."""
    normalised = normalise(truth)
    if not normalised:
        return matches_exactly(answer, truth)
    return normalise(answer) == normalised or (normalised in ("yes", "no") and yes_or_no(answer) == normalised)


def yes_or_no(answer: str) -> Literal["yes", "no"] | None:
    """The yes or no that an answer begins with, if it does and neither refuses nor goes on with the other word."""
    words = normalise(answer).split()
    if not {"yes", "no"} & set(words[:1]) or {"yes", "no"} <= set(words) or refuses(answer):
        return None
    return words[0]


def refuses(answer: str) -> bool:
    """True if an answer is empty or a stock phrase of not knowing."""
    normalised = normalise(answer)
    return not normalised or _REFUSALS.search(normalised) is not None


def _control(answered, name):
    """The share that a control answers right, or None unless it answered every question."""
    if not all(name in item.controls for item in answered):
        return None
    return _share(matches(item.controls[name], item.truth) for item in answered)


def _interval(right, clips):
    rows = {clip: row for row, clip in enumerate(dict.fromkeys(clips))}
    per_clip = np.zeros((len(rows), 2))
    np.add.at(per_clip, [rows[clip] for clip in clips], np.stack([np.ones(len(right)), right], -1))
    return bootstrap_interval(per_clip)


def _share(flags):
    flags = list(flags)
    return sum(flags) / len(flags) if flags else None


def _mean(values):
    return float(np.mean(values)) if values and None not in values else None
