"""Scores of answered questions, by kind of question, beside those of controls that answer without the clip.

Every figure is a share of questions. A control is an answer of its own to the same question, scored by the same
normalised match:

- ``most_frequent``: always the most frequent training answer to this kind of question;
- ``question_only``: the most frequent training answer to this very question, and else to its kind;
- ``other_clip``: the same model's answer when it is shown another clip;
- ``first_frame``: the same model's answer when it is shown the first frame in the place of all frames, of questions
  about what happens next or would happen only: all of its clip but the motion.

A kind of question *needs the video* when the question alone does not give its answer away: ``question_only`` is right
in less than `GIVEN_AWAY` of them. Where no training answers are known, every kind counts as needing it.

An answer is scored from 0 to 1, see `answer_matching`. Where the wording of a question is known to be trained or held
out, the shares of both stand side by side with their difference.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.evals.answer_matching import matches_exactly, normalise, refuses, score, yes_or_no
from hilight_jax.evals.intervals import influences, mean_interval, mean_of_kinds_interval

CONTROLS = ("most_frequent", "question_only", "other_clip")
FIRST_FRAME = "first_frame"  # A control of the kinds of question about the future only.
WORDINGS = ("trained", "held_out")
GIVEN_AWAY = 0.9
UNTYPED = "all questions"  # The kind in reports of a source without kinds of questions.


class Answered(NamedTuple):
    """A question with the truth, the answer and those of the controls."""

    id: str  # of the question within its source
    index: int  # of its conversation in the source
    clip: str  # names its clips, joined by '+'; '' of a talk without a clip
    type: str  # kind of question, '' where unknown
    question: str
    truth: str
    answer: str
    heard: bool | None = None  # true if training answers this kind of question so; None where that is not known
    controls: Mapping[str, str] = {}  # answers of the controls that were run
    wording: str = ""  # one of `WORDINGS`, '' where unknown
    accepted: tuple[str, ...] = ()  # answers that are right beside the truth, the shortest first

    @property
    def cluster(self) -> str:
        """The first clip, or else the conversation: answers of one cluster are not independent."""
        return self.clip.partition("+")[0] or str(self.index)

    @property
    def score(self) -> float:
        """The score of the answer."""
        return score(self.answer, self.truth, self.type, self.accepted)

    def as_json(self) -> dict[str, Any]:
        """A flat object, ready for JSON; foreign tools read 'id' (or 'question_id') and 'answer'."""
        fields = self._asdict() | {"right": self.score == 1, "controls": dict(self.controls)}
        fields |= {"score": None if self.score in (0, 1) else self.score, "accepted": list(self.accepted) or None}
        fields["wording"] = self.wording or None
        return {name: value for name, value in fields.items() if value is not None}


def summarise_answers(answered: Sequence[Answered]) -> dict[str, Any]:
    """Scores at least one question: all together, by kind, yes and no, and the kinds that need the video.

    Returns:
      ``{'overall': G, 'types': {type: G}, 'yes_no': Y, 'needs_video': V}``, ready for JSON. G: 'questions', 'exact',
      'normalised' and its 95 % bootstrap 'interval' over clusters, 'refused', 'unheard' (answers that training never
      gives to this kind of question), one share per control, 'frequent_answer', and 'wordings' ('trained' and
      'held_out' shares, their 'difference' and numbers of questions); None where something was not run or known. Y and
      V: see `balance` and `needs_video`; V has the 'interval' of 'normalised' too, None without a kind.
    """
    kinds = list(dict.fromkeys(item.type for item in answered))
    types = {kind or UNTYPED: figures([item for item in answered if item.type == kind]) for kind in kinds}
    about_clips = {item.type or UNTYPED for item in answered if item.clip}
    needing = needs_video(types, without_clip=set(types) - about_clips)
    return {
        "overall": figures(answered),
        "types": types,
        "yes_no": balance(answered),
        "needs_video": {**needing, "interval": _kinds_interval(answered, needing["types"])},
    }


def figures(answered: Sequence[Answered]) -> dict[str, Any]:
    """The shares of one group of questions; see `summarise_answers`."""
    right = [item.score for item in answered]
    frequent = {item.controls.get("most_frequent") for item in answered}
    return {
        "questions": len(answered),
        "exact": _share(matches_exactly(item.answer, item.truth) for item in answered),
        "normalised": _share(right),
        "interval": _interval(right, [item.cluster for item in answered]),
        "refused": _share(refuses(item.answer) for item in answered),
        "unheard": _share(not item.heard for item in answered if item.heard is not None),
        **{name: _control(answered, name) for name in (*CONTROLS, FIRST_FRAME)},
        "frequent_answer": frequent.pop() if len(frequent) == 1 else None,
        "wordings": _wordings(answered),
    }


def balance(answered: Sequence[Answered]) -> dict[str, Any] | None:
    """Yes and no in the answers against the truth, over questions whose truth is one of them; None without such.

    Returns:
      'questions'; 'truth_yes', 'answer_yes', 'answer_no' and 'answer_neither' (shares of these questions); 'right_yes'
      and 'right_no' (shares of the questions whose truth is yes, and no).
    """
    pairs = [(normalise((*item.accepted, item.truth)[0]), yes_or_no(item.answer)) for item in answered]
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


def needs_video(types: Mapping[str, Mapping[str, Any]], without_clip: Set[str] = frozenset()) -> dict[str, Any]:
    """Means over the kinds of question that need the video, every kind counting once.

    Kinds that are never asked about a clip need none.

    Returns:
      'types', 'given_away_by_question' (the other kinds), 'normalised', one mean per control, and 'margins': how far
      'normalised' lies above each control; None where a control was not run.
    """
    asked_of_clips = {kind: group for kind, group in types.items() if kind not in without_clip}
    needing = [kind for kind, group in asked_of_clips.items() if (group["question_only"] or 0.0) < GIVEN_AWAY]
    means = {name: _mean([types[kind][name] for kind in needing]) for name in ("normalised", *CONTROLS)}
    margins = {name: None if means[name] is None else means["normalised"] - means[name] for name in CONTROLS}
    return {
        "types": needing,
        "given_away_by_question": [kind for kind in types if kind not in needing],
        **means,
        "margins": margins,
    }


def _control(answered, name):
    """The share that a control answers right, or None unless it answered every question."""
    if not all(name in item.controls for item in answered):
        return None
    return _share(score(item.controls[name], item.truth, item.type, item.accepted) for item in answered)


def _wordings(answered):
    """The shares of questions in trained and in held-out words, and their difference; None where words are unknown."""
    groups = {name: [item.score for item in answered if item.wording == name] for name in WORDINGS}
    if not any(groups.values()):
        return None
    shares = {name: _share(scores) for name, scores in groups.items()}
    known = all(groups.values())
    counts = {f"{name}_questions": len(scores) for name, scores in groups.items()}
    return {**shares, "difference": shares["held_out"] - shares["trained"] if known else None, **counts}


def _interval(right, clusters):
    _, rows = np.unique(clusters, return_inverse=True)
    return mean_interval(np.array(right), rows)


def kinds_influences(answered: Sequence[Answered], kinds: Sequence[str]) -> list[float]:
    """The influences of the clusters, in the order of their names, on the mean over at least one kind.

    See ``intervals.influences``: of a mean of shares they are the mean of theirs.
    """
    questions, hits = _by_cluster(answered, kinds)
    of_kinds = [influences(np.stack(columns, axis=1)) for columns in zip(questions.T, hits.T, strict=True)]
    return np.mean(of_kinds, axis=0).tolist()


def _kinds_interval(answered, kinds):
    """The interval of the mean over these kinds."""
    return mean_of_kinds_interval(*_by_cluster(answered, kinds)) if kinds else None


def _by_cluster(answered, kinds):
    """Questions and hits [clusters, kinds]."""
    items = [item for item in answered if (item.type or UNTYPED) in kinds]
    _, rows = np.unique([item.cluster for item in items], return_inverse=True)
    columns = [kinds.index(item.type or UNTYPED) for item in items]
    questions, hits = np.zeros((2, rows.max() + 1, len(kinds)))
    np.add.at(questions, (rows, columns), 1)
    np.add.at(hits, (rows, columns), [item.score for item in items])
    return questions, hits


def _share(flags):
    flags = list(flags)
    return sum(flags) / len(flags) if flags else None


def _mean(values):
    return float(np.mean(values)) if values and None not in values else None
