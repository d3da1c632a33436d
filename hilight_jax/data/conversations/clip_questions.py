"""Conversations made of the questions of stored clips: of one or several turns, about one clip or two.

Clips are stored with questions, each with its answer and type, and with *clauses*, statements that hold or do not hold
of a clip ("is the yellow ball in view"). Two clips of which one fulfils a clause and the other does not give the
question "In which of the two clips is the yellow ball in view?".
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Conversation, Turn
from hilight_jax.data.records import Record
from hilight_jax.data.sources import StoredSource

TWO_CLIPS = "two_clips"  # The type of questions about two clips.
_TRIES = 8


class _Asked(NamedTuple):
    """A question with its answer and type, and the clips that its turn shows, beside those shown before."""

    question: str
    answer: str
    type: str
    num_clips: int = 0


class ClipQuestions:
    """The conversations about one split of a stored dataset, one for each clip; can be sent to worker processes.

    With a random generator, a conversation has ``turns`` of its clip's questions, or all that there are, in random
    order: one long conversation trains the model on every shorter one that it begins with. The share
    ``two_clips`` of them ends with a question about two clips, half of these with both clips at once and no other
    question, half with the second clip shown in mid-conversation. The evaluated form has all questions of the
    clip and, unless ``two_clips`` is 0, one about it and another clip.
    """

    def __init__(self, path: str, turns: str = "3", two_clips: str = "0"):
        """Opens the split ``DIRECTORY/SPLIT``; ``turns`` and ``two_clips`` are options of its specification.

        Raises:
          DataError: An option is wrong, or two clips are to be compared that are stored without clauses.
        """
        self._clips = StoredSource(path)
        self.name = f"questions:{path}"
        self._turns = int(_number(turns, int, "turns", 1, 1000))
        self._two_clips = _number(two_clips, float, "two_clips", 0, 1)
        if self._two_clips and len(self._clips) and not _labels(self._clips[0]).get("clauses"):
            raise DataError(
                f"{path} was stored without clauses, as an earlier version wrote it, so no question can be about two "
                "clips; delete the dataset and generate it anew, or set two_clips=0."
            )

    def __len__(self) -> int:
        return len(self._clips)

    def conversation(self, index: int, rng: np.random.Generator | None) -> Conversation:
        """Returns a conversation about clip ``index``; its id is the clip's."""
        record = self._clips[index]
        asked = [_Asked(q["question"], q["answer"], q["type"]) for q in _labels(record).get("questions", ())]
        if rng is None:
            compares, at_once = self._two_clips > 0, False
            rng = np.random.default_rng(index)
        else:
            compares, at_once = rng.random() < self._two_clips, rng.random() < 0.5
            asked = [asked[i] for i in rng.permutation(len(asked))[: self._turns]]
        other, comparison = self._comparison(index, record, rng) if compares else (None, None)
        if other is None:
            return _conversation(record.id, [record], asked)
        if at_once:
            return _conversation(record.id, [record, other], [comparison])
        return _conversation(record.id, [record, other], [*asked, comparison])

    def _comparison(
        self, index: int, record: Record, rng: np.random.Generator
    ) -> tuple[Record, _Asked] | tuple[None, None]:
        """Draws another clip and a clause that holds of one of the two; (None, None) when several clips give none."""
        own = _labels(record).get("clauses", {})
        for _ in range(_TRIES if len(self) > 1 else 0):
            number = int(rng.integers(len(self) - 1))
            other = self._clips[number + (number >= index)]
            theirs = _labels(other).get("clauses", {})
            telling = [clause for clause, holds in own.items() if theirs.get(clause, holds) != holds]
            if telling:
                clause = telling[int(rng.integers(len(telling)))]
                answer = "In the first." if own[clause] else "In the second."
                return other, _Asked(f"In which of the two clips {clause}?", answer, TWO_CLIPS)
        return None, None


def _conversation(name: str, records: Sequence[Record], asked: Sequence[_Asked]) -> Conversation:
    """Writes the turns; the first shows the first clip, the last a second one."""
    turns = []
    for number, question in enumerate(asked, 1):
        num_marks = (number == 1) + (number == len(asked) and len(records) == 2)
        turns += [
            Turn("user", f"{VIDEO_MARK}\n" * num_marks + question.question),
            Turn("model", question.answer),
        ]
    types = tuple(question.type for question in asked)
    return Conversation(name, tuple(record.video for record in records), tuple(turns), types)


def _labels(record: Record) -> Mapping[str, Any]:
    return record.labels or {}


def _number(text: str, kind: type, option: str, low: float, high: float) -> float:
    """Reads an option."""
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not low <= number <= high:
        what = "a whole number" if kind is int else "a number"
        raise DataError(f"the option {option} of 'questions' is '{text}', but must be {what} from {low} to {high}.")
    return number
