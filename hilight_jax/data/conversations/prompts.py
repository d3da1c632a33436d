r"""Turns conversations into token ids: Gemma's template, the places of the clips, the labels and the cut.

Template of a round, behind one ``<bos>``::

  <start_of_turn>user\n{question}<end_of_turn>\n<start_of_turn>model\n{answer}<end_of_turn>\n<eos>

Clips stand first in their turn: every ``<video>`` mark is taken out of the text and ``<video>\n`` put before it. Where
a conversation holds two clips or more, each mark is numbered, ``Image 1:<video>`` (the original's word, which its
inference uses for videos too). These functions do exactly what the original does (HiLight at cad0ec8, ``train_GPUs``
and ``predict_cli``), odd inputs included; ``data/conversations/checks.py`` refuses those first.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import IGNORE_ID, VIDEO_ID
from hilight_jax.data.conversations.conversation import ROLES, VIDEO_MARK, ConversationError, Turn
from hilight_jax.data.conversations.gemma_tokenizer import END_OF_TURN, PAD_ID, START_OF_TURN, GemmaTokenizer

_ROUND_END = "<eos>"
ANSWER_START = f"{START_OF_TURN}model\n"
ANSWER_END = f"{END_OF_TURN}\n{_ROUND_END}"
# Shorter conversations are not learned at all where the lengths of their pieces do not add up to that of the whole.
_LENGTHS_CHECKED_BELOW = 512


class Example(NamedTuple):
    """A tokenised conversation of n ids.

    Attributes:
      ids: int32 [n]; ``VIDEO_ID`` where a clip goes.
      labels: int32 [n], the ids to learn, ``IGNORE_ID`` elsewhere; the loss shifts them.
    """

    ids: np.ndarray
    labels: np.ndarray


class Fitted(NamedTuple):
    """The first tokens of a conversation, as many as the context holds.

    Attributes:
      ids: int32 [n].
      labels: int32 [n].
      cut: A sentence about the part that was cut off; empty if nothing was.
      positions: int32 [n], counted from 0; in each branch from the trunk on (branches.py).
      branch: int32 [n], number of the branch from 1, 0 in the trunk; 0 throughout where there are no branches.
    """

    ids: np.ndarray
    labels: np.ndarray
    cut: str
    positions: np.ndarray
    branch: np.ndarray


def training_example(turns: Sequence[Turn], num_videos: int, tokenizer: GemmaTokenizer) -> Example:
    r"""Tokenises a conversation for training; the answers, their ``<end_of_turn>\n`` and ``<eos>`` are learned.

    A model turn at the very beginning is dropped, as in the original. With at most one clip, marks are placed as in the
    original's training, where several marks of one turn are one; with more, as in its inference, so that training and
    chat agree.

    Raises:
      DataError: The turns do not alternate.
    """
    prompt = render(_place_marks(turns, merge=num_videos < 2))
    if num_videos > 1:
        prompt = number_marks(prompt)
    ids = tokenize(prompt, tokenizer)
    return Example(ids, _labels(prompt, ids, tokenizer))


def prompt_ids(turns: Sequence[Turn], tokenizer: GemmaTokenizer) -> np.ndarray:
    r"""Tokenises a conversation that ends with a user's turn, up to the point where the model answers.

    Each ``<video>`` mark stands for the next clip.

    Returns:
      int32 [n]; ``VIDEO_ID`` where a clip goes, the last ids those of ``<start_of_turn>model\n``.

    Raises:
      DataError: The turns do not alternate.
    """
    return tokenize(number_marks(render(_place_marks(turns, merge=False)) + ANSWER_START), tokenizer)


def render(turns: Sequence[Turn]) -> str:
    """Writes the turns in Gemma's template, without ``<bos>``.

    An empty text leaves its turn open (no ``<end_of_turn>``), as the original's template does.
    """
    if turns and turns[0].role != ROLES[0]:
        turns = turns[1:]
    prompt = ""
    for i, (turn, role) in enumerate(zip(turns, itertools.cycle(ROLES), strict=False), 1):
        if turn.role != role:
            raise DataError(f"turn {i} must be the {role}'s, not '{turn.role}': the turns alternate, the user's first.")
        prompt += f"{START_OF_TURN}{role}\n"
        if turn.text:
            prompt += turn.text + (ANSWER_END if role == "model" else f"{END_OF_TURN}\n")
    return prompt


def number_marks(prompt: str) -> str:
    """Writes ``Image k:`` before each ``<video>`` where there are two or more."""
    first, *others = prompt.split(VIDEO_MARK)
    if len(others) < 2:
        return prompt
    return first + "".join(f"Image {k}:{VIDEO_MARK}{text}" for k, text in enumerate(others, 1))


def tokenize(prompt: str, tokenizer: GemmaTokenizer) -> np.ndarray:
    """Tokenises the pieces between ``<video>`` marks, each alone, behind one ``<bos>``; int32 [n]."""
    first, *others = prompt.split(VIDEO_MARK)
    ids = tokenizer.encode(first, bos=True)
    for text in others:
        ids += [VIDEO_ID, *tokenizer.encode(text)]
    return np.array(ids, np.int32)


def expand(ids: np.ndarray, labels: np.ndarray | None, num_video_tokens: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Repeats each ``VIDEO_ID`` of int32 ``ids`` [n] V = ``num_video_tokens`` times, the rows of one clip.

    Returns:
      int32 ids, and the labels beside them (``IGNORE_ID`` on the rows of clips), None if there are none.
    """
    is_video = ids == VIDEO_ID
    repeats = np.where(is_video, num_video_tokens, 1)
    expanded = np.repeat(ids, repeats)
    return expanded, None if labels is None else np.repeat(np.where(is_video, IGNORE_ID, labels), repeats)


def fit_context(ids: np.ndarray, labels: np.ndarray, max_length: int) -> Fitted:
    """Keeps the first ``max_length`` of n expanded ids and labels, as the original does, but never a part of a clip.

    Raises:
      ConversationError: A clip, or everything there is to learn, lies past the end of the context.
    """
    if len(ids) <= max_length:
        return _in_a_row(ids, labels, "")
    too_long = f"its {len(ids)} tokens do not fit into {max_length}"
    num_video_rows = np.count_nonzero(ids == VIDEO_ID)
    if np.any(ids[max_length:] == VIDEO_ID):
        raise ConversationError(
            f"{too_long}, and the cut would go through or before a clip ({num_video_rows} of the tokens are video), "
            "which is kept whole; raise config.data.max_length, or split the conversation."
        )
    starts, ends = _answers(labels)
    if not np.any(starts < max_length):
        raise ConversationError(
            f"{too_long} ({num_video_rows} of them video), and all its answers lie in what would be cut; raise "
            "config.data.max_length, or shorten the first question."
        )
    first_cut, num_answers = int(np.searchsorted(ends, max_length, side="right")) + 1, len(starts)
    what = f"answer {first_cut}" if first_cut == num_answers else f"answers {first_cut} to {num_answers}"
    lost = f", and with them all or part of {what}" if first_cut <= num_answers else ""
    cut = f"{too_long}: the last {len(ids) - max_length} are cut{lost}."
    return _in_a_row(ids[:max_length], labels[:max_length], cut)


def _in_a_row(ids: np.ndarray, labels: np.ndarray, cut: str) -> Fitted:
    return Fitted(ids, labels, cut, np.arange(len(ids), dtype=np.int32), np.zeros(len(ids), np.int32))


def _place_marks(turns: Sequence[Turn], merge: bool) -> list[Turn]:
    """Moves the marks of each turn before its text; ``merge`` makes several marks one, in answers too."""
    placed = []
    for turn in turns:
        num_marks = turn.text.count(VIDEO_MARK)
        if num_marks and (merge or turn.role == "user"):
            marks = f"{VIDEO_MARK}\n" * (1 if merge else num_marks)
            turn = turn._replace(text=(marks + turn.text.replace(VIDEO_MARK, "").strip()).strip())
        placed.append(turn)
    return placed


def _labels(prompt: str, ids: np.ndarray, tokenizer: GemmaTokenizer) -> np.ndarray:
    """The original's mask: it finds the answers by counting the ids of each round's pieces, tokenised by themselves.

    A round counts its own ``<bos>`` in place of the ``<eos>`` that the split took. Wherever the pieces do not add up
    (an open round, control tokens in a text, a newline that merges with the template's), nothing is learned.
    """
    labels = ids.copy()
    labels[0] = IGNORE_ID
    total = np.count_nonzero(ids != PAD_ID)
    position = 1
    for text in prompt.split(_ROUND_END):
        parts = text.split(ANSWER_START)
        if len(parts) != 2:
            break
        question_length = len(tokenize(parts[0] + ANSWER_START, tokenizer)) - 1
        labels[position : position + question_length] = IGNORE_ID
        position += len(tokenize(text, tokenizer))
    labels[position:] = IGNORE_ID
    if position < _LENGTHS_CHECKED_BELOW and position != total:
        labels[:] = IGNORE_ID
    return labels


def _answers(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first token, and one past the last, of every run of learned tokens."""
    learned = np.concatenate([[False], labels != IGNORE_ID, [False]]).astype(np.int8)
    steps = np.diff(learned)
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
