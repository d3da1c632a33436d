"""Conversations made of the questions of stored clips: of one or several turns, about one clip, two, or none.

Clips are stored with questions, each with its answer and type, and with *clauses*, statements that hold or do not hold
of a clip ("is the yellow ball in view"). Two clips of which one fulfils a clause and the other does not give the
question "In which of the two clips is the yellow ball in view?". A question may carry a follow-up, which refers to it
("And after that?") and is asked directly after it. Some worlds store *talks* too, questions that need no clip.
"""

import collections
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Conversation, Note, Turn
from hilight_jax.data.records import Record
from hilight_jax.data.sources import StoredSource

TWO_CLIPS = "two_clips"  # The type of questions about two clips.
FOLLOW_UP = "follow_up"  # The type of questions that refer to the one before them.
_COMPARISON = {"question": "In which of the two clips {clause}?"}
_TRIES = 8
_NUM_COUNTED = 512  # Clips that the kinds of questions are counted on.


class _Asked(NamedTuple):
    """A question with its answer and type, and what else is known of it."""

    question: str
    answer: str
    type: str
    note: Note = Note()


class ClipQuestions:
    """The conversations about one split of a stored dataset, one for each clip; can be sent to worker processes.

    With a random generator, a conversation has ``turns`` of its clip's questions, or all that there are, in random
    order: one long conversation trains the model on every shorter one that it begins with. A question is drawn with the
    weight ``share ** -balanced``, where the share is that of the clips that have a question of its kind: 0 weighs all
    alike, 1 asks all kinds about equally often. The share ``two_clips`` of the conversations ends with a question about
    two clips, half of these with both clips at once and no other question, half with the second clip shown in
    mid-conversation. In the share ``apart`` of the others, questions do not see each other's answers: each is a branch
    of its own (branches.py), with the question of the type ``FOLLOW_UP`` behind it, if there is one. The evaluated form
    has all questions of the clip in one conversation and, unless ``two_clips`` is 0, one about it and another clip.

    To every conversation about a clip come ``no_clip`` ones without, behind all others, of the talks of one clip.
    """

    def __init__(
        self,
        path: str,
        turns: str = "3",
        two_clips: str = "0",
        no_clip: str = "0",
        balanced: str = "0",
        apart: str = "0",
        first: str = "",
    ):
        """Opens the split ``DIRECTORY/SPLIT``; the other arguments are options of its specification.

        Raises:
          DataError: An option is wrong, or asks for clauses or talks, and the clips are stored without.
        """
        self._clips = StoredSource(path, first)
        self.name = f"questions:{path}"
        self._turns = int(_number(turns, int, "turns", 1, 1000))
        self._two_clips = _number(two_clips, float, "two_clips", 0, 1)
        self._balanced = _number(balanced, float, "balanced", 0, 3)
        self._apart = _number(apart, float, "apart", 0, 1)
        self._num_talks = round(_number(no_clip, float, "no_clip", 0, 10) * len(self._clips))
        labels = _labels(self._clips[0]) if len(self._clips) else {}
        if self._two_clips and labels and not labels.get("clauses"):
            raise DataError(
                f"{path} was stored without clauses, as an earlier version wrote it, so no question can be about two "
                "clips; delete the dataset and generate it anew, or set two_clips=0."
            )
        if self._num_talks and not labels.get("talks"):
            raise DataError(
                f"{path} was stored without talks, so there is no conversation without a clip; set no_clip=0, or use a "
                "world that has them, such as demo-v2."
            )

    def __len__(self) -> int:
        return len(self._clips) + self._num_talks

    def conversation(self, index: int, rng: np.random.Generator | None) -> Conversation:
        """Returns a conversation about clip ``index``, whose id is the clip's, or one without a clip."""
        if index >= len(self._clips):
            return self._talk(index - len(self._clips), rng)
        record = self._clips[index]
        groups = [list(_asked(question)) for question in _labels(record).get("questions", ())]
        apart = False
        if rng is None:
            compares, at_once = self._two_clips > 0, False
            rng = np.random.default_rng(index)
            asked = [question for group in groups for question in group]
        else:
            compares, at_once = rng.random() < self._two_clips, rng.random() < 0.5
            asked = [question for i in self._drawn(groups, rng) for question in groups[i]][: self._turns]
            apart = self._apart > 0 and rng.random() < self._apart
        other, comparison = self._comparison(index, record, rng) if compares else (None, None)
        if other is None:
            return _conversation(record.id, [record], asked, apart)
        if at_once:
            return _conversation(record.id, [record, other], [comparison])
        return _conversation(record.id, [record, other], [*asked, comparison])

    def _drawn(self, groups: Sequence[Sequence[_Asked]], rng: np.random.Generator) -> list[int]:
        """Draws the groups of a conversation, as many as its turns have room for, in random order."""
        if not self._balanced or not groups:
            return rng.permutation(len(groups)).tolist()
        rarest = 1 / min(len(self._clips), _NUM_COUNTED)  # Of kinds that none of the counted clips has.
        weights = np.array([self._shares.get(group[0].type, rarest) for group in groups]) ** -self._balanced
        order = np.argsort(rng.exponential(1 / weights)).tolist()  # The smallest first: draws without replacement.
        ends = np.cumsum([len(groups[i]) for i in order])
        chosen = order[: int(np.searchsorted(ends, self._turns)) + 1]
        return [chosen[i] for i in rng.permutation(len(chosen))]

    @functools.cached_property
    def _shares(self) -> Mapping[str, float]:
        """The share of clips that have a question of a kind, counted on some clips spread over the split."""
        some = np.linspace(0, len(self._clips) - 1, min(len(self._clips), _NUM_COUNTED)).astype(int).tolist()
        kinds = collections.Counter(
            kind
            for i in some
            for kind in {question["type"] for question in _labels(self._clips[i]).get("questions", ())}
        )
        return {kind: count / len(some) for kind, count in kinds.items()}

    def _talk(self, number: int, rng: np.random.Generator | None) -> Conversation:
        """Returns a conversation without a clip: the talks of a clip, evenly chosen, or drawn by ``rng``."""
        count = len(self._clips)
        clip = number * count // self._num_talks if rng is None else int(rng.integers(count))
        record = self._clips[clip]
        asked = [question for talk in _labels(record)["talks"] for question in _asked(talk)]
        return _conversation(f"{record.id}/talk/{number}", [], asked[: self._turns] if rng else asked)

    def _comparison(
        self, index: int, record: Record, rng: np.random.Generator
    ) -> tuple[Record, _Asked] | tuple[None, None]:
        """Draws another clip and a clause that holds of one of the two; (None, None) when several clips give none."""
        own = _labels(record).get("clauses", {})
        for _ in range(_TRIES if len(self._clips) > 1 else 0):
            number = int(rng.integers(len(self._clips) - 1))
            other = self._clips[number + (number >= index)]
            theirs = _labels(other).get("clauses", {})
            telling = [clause for clause, holds in own.items() if theirs.get(clause, holds) != holds]
            if telling:
                clause = telling[int(rng.integers(len(telling)))]
                return other, _compared(record, clause, "first" if own[clause] else "second")
        return None, None


def stored_texts(labels: Mapping[str, Any]) -> Iterator[str]:
    """Yields the texts of all questions and answers that are stored with a clip."""
    for stored in (*labels.get("questions", ()), *labels.get("talks", ())):
        for asked in _asked(stored):
            yield from (asked.question, asked.answer)


def _compared(record: Record, clause: str, which: str) -> _Asked:
    """Asks in which clip a clause holds, in the wording that is stored with the first clip, if one is."""
    wording = _labels(record).get("comparison", _COMPARISON)
    question = wording["question"].replace("{clause}", clause)
    answer = f"In the {which}."
    accepted = (answer, f"The {which}.", f"{which.capitalize()}.", f"In the {which} clip.", f"The {which} clip.")
    note = Note(wording.get("wording", ""), f"{TWO_CLIPS} {clause}", accepted)
    return _Asked(question[0].upper() + question[1:], answer, TWO_CLIPS, note)


def _asked(stored: Mapping[str, Any]) -> Iterator[_Asked]:
    """Yields a stored question, and the one that follows it, if there is one."""
    note = Note(stored.get("wording", ""), stored.get("about", ""), tuple(stored.get("accepted", ())))
    yield _Asked(stored["question"], stored["answer"], stored["type"], note)
    if "follow_up" in stored:
        yield from _asked(stored["follow_up"])


def _conversation(name: str, records: Sequence[Record], asked: Sequence[_Asked], apart: bool = False) -> Conversation:
    """Writes the turns; the first shows the first clip, the last a second one.

    ``apart`` makes each question, with what refers to it, a branch of its own.
    """
    turns, branches = [], []
    for number, question in enumerate(asked, 1):
        starts = number == 1 or (apart and question.type != FOLLOW_UP)
        if starts and apart:
            branches.append(len(turns))
        num_marks = (starts and len(records) > 0) + (number == len(asked) and len(records) == 2)
        turns += [
            Turn("user", f"{VIDEO_MARK}\n" * num_marks + question.question),
            Turn("model", question.answer),
        ]
    types, notes = (tuple(getattr(question, name) for question in asked) for name in ("type", "note"))
    videos, labels = (tuple(x) for x in ((record.video for record in records), map(_labels, records)))
    return Conversation(name, videos, tuple(turns), types, notes=notes, labels=labels, branches=tuple(branches))


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
