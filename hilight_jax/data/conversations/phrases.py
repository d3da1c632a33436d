"""Finds in the token ids of a conversation the phrases that name something visible.

Exported models carry a copy of this file: it imports the standard library and numpy alone, and takes its word lists
from ``words.py`` here, from ``words.json`` there.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

# Stands before each of several clips, whose first row is read as a line break; it names nothing.
_NUMBER_OF_CLIP = re.compile(r"Image \d+:(?=\n)")


class Words(NamedTuple):
    """The phrases of a conversation of n ids, each once.

    Attributes:
      rows: int32 [n], number of the phrase (from 1) that a token is part of, 0 for none.
      phrases: Their normal forms, such as ``the red ball``.
    """

    rows: np.ndarray
    phrases: tuple[str, ...]


class PhraseFinder:
    """Finds the phrases of conversations where users speak."""

    def __init__(self, surface: Callable[[int], bytes], rules: Mapping[str, Any]):
        """Takes a vocabulary and the word lists.

        Args:
          surface: The bytes of a text that an id stands for; none for a control token.
          rules: ``names`` of listed things, each with the one that it is read as, in lower case and without an article,
            longest first; ``unseen`` words, which name nothing that has a place; ``longest_run`` of other words that
            are one phrase; ``most_phrases`` of a conversation; the ids ``start_of_turn`` and ``end_of_turn``, and
            ``video_id`` of the rows of clips.
        """
        self._surface, self._rules = surface, dict(rules)
        self._lists = tuple(map(tuple, rules["names"])), frozenset(rules["unseen"]), int(rules["longest_run"])

    def __call__(self, ids: np.ndarray) -> Words:
        """Finds the phrases of int32 ``ids`` [n]; rows of clips may stand among them."""
        rows, numbers = np.zeros(len(ids), np.int32), {}
        for first, last in self._user_turns(ids):
            text, spans = self._text(ids[first:last])
            text = _NUMBER_OF_CLIP.sub(lambda match: " " * len(match[0]), text)
            for start, end, phrase in find_phrases(text, *self._lists):
                number = numbers.setdefault(phrase, len(numbers) + 1)
                rows[first:last][(spans[:, 0] < end) & (spans[:, 1] > start)] = number
        surplus = max(len(numbers) - self._rules["most_phrases"], 0)  # The latest phrases are kept.
        return Words(np.maximum(rows - surplus, 0), tuple(numbers)[surplus:])

    def _user_turns(self, ids: np.ndarray) -> list[tuple[int, int]]:
        """First and last + 1 token of what users say, the role's own line included."""
        turns = []
        starts = np.flatnonzero(ids == self._rules["start_of_turn"])
        ends = np.flatnonzero(ids == self._rules["end_of_turn"])
        for start in starts.tolist():
            end = int(next((e for e in ends if e > start), len(ids)))
            if self._text(ids[start + 1 : min(start + 8, end)])[0].startswith("user\n"):
                turns.append((start + 1, end))
        return turns

    def _text(self, ids: np.ndarray) -> tuple[str, np.ndarray]:
        """The text of ids and the characters int32 [n, 2] that each stands for."""
        pieces = [b"\n" if i == self._rules["video_id"] else self._surface(i) for i in ids.tolist()]
        ends = np.cumsum([0, *map(len, pieces)])
        whole = b"".join(pieces)
        text = whole.decode(errors="replace")
        if not text.isascii():  # Characters before each byte.
            lengths = [len(whole[:end].decode(errors="replace")) for end in ends.tolist()]
            ends = np.asarray(lengths)
        return text, np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int32)


@functools.lru_cache(maxsize=65536)
def find_phrases(
    text: str, names: tuple[tuple[str, str], ...], unseen: frozenset[str], longest_run: int
) -> tuple[tuple[int, int, str], ...]:
    """Finds what a text names: a listed thing, the longest first, or else a run of words that are not ``unseen``.

    A listed name of one word that goes on with such a word, as in "the red shirt", is part of that run.

    Args:
      text: Of one turn.
      names: Names of things without their article in lower case, longest first, each with the one it is read as.
      unseen: Words in lower case that name nothing that has a place.
      longest_run: Words of one phrase; a longer run is several phrases.

    Returns:
      First and last + 1 character and the normal form of each phrase, in the order of the text.
    """
    words = list(split_words(text))
    lists = [(tuple(word for *_, word in split_words(name)), thing) for name, thing in names]
    found, run, k = [], [], 0

    def close() -> None:
        for i in range(0, len(run), longest_run):
            part = run[i : i + longest_run]
            found.append((part[0][0], part[-1][1], normal_form(" ".join(word for *_, word in part))))
        run.clear()

    def listed_at(k: int) -> tuple[tuple[str, ...], str] | None:
        following = tuple(word for *_, word in words[k : k + 8])
        return next((pair for pair in lists if following[: len(pair[0])] == pair[0]), None)

    def goes_on(k: int) -> bool:
        if k + 1 == len(words) or text[words[k][1] : words[k + 1][0]].strip():
            return False
        return words[k + 1][2] not in unseen and listed_at(k + 1) is None

    while k < len(words):
        listed = listed_at(k)
        if listed is not None and not (len(listed[0]) == 1 and goes_on(k)):
            close()
            last = k + len(listed[0]) - 1
            found.append((words[k][0], words[last][1], normal_form(listed[1])))
            k = last + 1
            continue
        start, _, word = words[k]
        if word in unseen or (run and text[run[-1][1] : start].strip()):
            close()
        if word not in unseen:
            run.append(words[k])
        k += 1
    close()
    return tuple(found)


def split_words(text: str) -> Iterator[tuple[int, int, str]]:
    """Yields each run of letters and each run of digits: first and last + 1 character, and the run in lower case."""
    start = 0
    for kind, characters in itertools.groupby(text, lambda c: unicodedata.category(c)[0]):
        word = "".join(characters)
        if kind in "LN":
            yield start, start + len(word), word.lower()
        start += len(word)


def normal_form(name: str) -> str:
    """The phrase that a name is read as by the text tower: ``red ball`` becomes ``the red ball``."""
    return f"the {name}"
