"""Counts the answers of a training source, for the controls that answer a question without its clip."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from hilight_jax.core.progress import Progress
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Conversation, Note
from hilight_jax.data.conversations.sources import ConversationSource
from hilight_jax.evals.answer_matching import normalise, yes_or_no


class Question(NamedTuple):
    """A question of a conversation, its true answer and kind."""

    text: str  # the words of the user's turn, without marks of clips
    truth: str  # the model's turn that follows
    type: str  # '' where unknown
    note: Note = Note()  # on its wording and other right answers

    @property
    def short(self) -> str:
        """The shortest right answer that is known."""
        return (*self.note.accepted, self.truth)[0]


class KnownAnswers:
    """Counts of answers by kind of question and by question."""

    def __init__(self, questions: Iterable[Question], training_source: str | None = None):
        """Counts the true answers of the questions of ``training_source``.

        Without one they are those of the evaluated questions: this only makes the control 'most_frequent' harder to
        beat, and other figures are not known.
        """
        self.name = training_source or "the evaluated answers themselves"
        self._trained = training_source is not None
        self._by_type: dict[str, Counter[str]] = {}
        self._by_question: dict[tuple[str, str], Counter[str]] = {}
        self._heard: dict[str, set[str]] = {}
        for question in questions:
            self._by_type.setdefault(question.type, Counter())[question.short] += 1
            self._by_question.setdefault(_key(question), Counter())[question.short] += 1
            self._heard.setdefault(question.type, set()).update(
                map(normalise, (question.truth, *question.note.accepted))
            )
        self._all = sum(self._by_type.values(), Counter())

    def controls(self, question: Question) -> dict[str, str]:
        """Answers of the controls that see no clip; of equally frequent answers the first that was counted.

        Returns:
          'most_frequent', the most frequent answer to the question's kind, or to all questions if the kind never
          occurred; of training answers also 'question_only', that to the very same question, or else to its kind. Two
          questions are the same when their notes say that they are 'about' the same, or else when their words are the
          same after normalisation.
        """
        frequent = _first(self._by_type.get(question.type) or self._all)
        if not self._trained:
            return {"most_frequent": frequent}
        same = _first(self._by_question.get(_key(question), Counter()))
        return {"most_frequent": frequent, "question_only": same or frequent}

    def heard(self, answer: str, kind: str) -> bool | None:
        """True if training answers this kind of question so, after normalisation; None without training answers.

        Of yes and no the first word counts.
        """
        heard = self._heard.get(kind, set())
        return (normalise(answer) in heard or yes_or_no(answer) in heard) if self._trained else None


def questions_of(conversation: Conversation) -> list[tuple[int, Question]]:
    """Returns (number of the user's turn, question) for every turn of a conversation that is answered."""
    found, answers = [], 0
    for number, turn in enumerate(conversation.turns):
        if turn.role != "model":
            continue
        if number:  # The template drops a model turn at the very beginning.
            words = conversation.turns[number - 1].text.replace(VIDEO_MARK, "").strip()
            kind = conversation.types[answers] if conversation.types else ""
            note = conversation.notes[answers] if conversation.notes else Note()
            found.append((number - 1, Question(words, turn.text, kind, note)))
        answers += 1
    return found


def count_answers(source: ConversationSource, show_progress: bool = False) -> KnownAnswers:
    """Counts the answers of a whole training source, in the fixed form that evaluation uses; decodes no clip."""
    progress = Progress(len(source), "count the training answers", unit="conversations") if show_progress else None

    def questions():
        for index in range(len(source)):
            yield from (question for _, question in questions_of(source.conversation(index, None)))
            if progress:
                progress.update()

    known = KnownAnswers(questions(), source.name)
    if progress:
        progress.close()
    return known


def _key(question: Question) -> tuple[str, str]:
    return question.type, question.note.about or normalise(question.text)


def _first(counts: Counter[str]) -> str | None:
    """The most frequent answer; ``most_common`` keeps the order of counting among equals."""
    return counts.most_common(1)[0][0] if counts else None
