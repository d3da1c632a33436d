"""Finds the words of a conversation that name something visible, for the word tracks (models/word_tracks.py).

Words are found in the token ids, where the user speaks: a name of the domain's list of things, the longest first, or
else a run of content words (data/language_mask.py) that is no verb and no place in the picture. Answers carry no
tracks: while one is generated, its words are not known yet.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import regex

from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.language_mask import ABSTRACT_WORDS, FUNCTION_WORDS, content_mask
from hilight_jax.data.records import Caption
from hilight_jax.data.tokenizers import ClipTokenizer

PHRASE_LENGTH = 16  # Tokens of CLIP's tokenizer that a phrase is read with, start and end included.
PHRASE_BUCKETS = (16, 64, 256)  # Different phrases of a conversation that a batch has room for; each is compiled once.
LONGEST_RUN = 3  # Words of a phrase that is not on the list; a longer run is several phrases.
_WORD = regex.compile(r"\p{L}+|\p{N}+")


class Words(NamedTuple):
    """The phrases of a conversation of n ids, each once.

    Attributes:
      rows: int32 [n], number of the phrase (from 1) that a token is part of, 0 for none.
      phrases: Their normal forms, such as ``the red ball``.
    """

    rows: np.ndarray
    phrases: tuple[str, ...]


class WordFinder:
    """Finds the phrases of conversations; can be sent to worker processes."""

    def __init__(self, tokenizer: GemmaTokenizer, things: Sequence[str]):
        """Takes the tokenizer of the ids, and the domain's things, such as ``the cue ball``."""
        self._tokenizer = tokenizer
        names = sorted({name_of(thing) for thing in things}, key=len, reverse=True)
        self._names = tuple(names)

    def __call__(self, ids: np.ndarray) -> Words:
        """Finds the phrases of int32 ``ids`` [n]; rows of clips may stand among them."""
        rows, numbers = np.zeros(len(ids), np.int32), {}
        for first, last in self._user_turns(ids):
            text, spans = self._text(ids[first:last])
            for start, end, phrase in find_phrases(text, self._names):
                number = numbers.setdefault(phrase, len(numbers) + 1)
                rows[first:last][(spans[:, 0] < end) & (spans[:, 1] > start)] = number
        return _keep_latest(Words(rows, tuple(numbers)))

    def _user_turns(self, ids: np.ndarray) -> list[tuple[int, int]]:
        """First and last + 1 token of what users say, the role's own line included."""
        tokenizer, turns = self._tokenizer, []
        starts = np.flatnonzero(ids == tokenizer.start_of_turn)
        ends = np.flatnonzero(ids == tokenizer.end_of_turn)
        for start in starts.tolist():
            end = int(next((e for e in ends if e > start), len(ids)))
            if self._text(ids[start + 1 : min(start + 8, end)])[0].startswith("user\n"):
                turns.append((start + 1, end))
        return turns

    def _text(self, ids: np.ndarray) -> tuple[str, np.ndarray]:
        """The text of ids and the characters int32 [n, 2] that each stands for."""
        pieces = [b"\n" if i == VIDEO_ID else self._tokenizer.surface(i) for i in ids.tolist()]
        ends = np.cumsum([0, *map(len, pieces)])
        whole = b"".join(pieces)
        text = whole.decode(errors="replace")
        if not text.isascii():  # Characters before each byte.
            lengths = [len(whole[:end].decode(errors="replace")) for end in ends.tolist()]
            ends = np.asarray(lengths)
        return text, np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int32)


@functools.lru_cache(maxsize=65536)
def find_phrases(text: str, names: tuple[str, ...]) -> tuple[tuple[int, int, str], ...]:
    """Finds what a text names.

    Args:
      text: Of one turn.
      names: Things without their article in lower case, longest first.

    Returns:
      First and last + 1 character and the normal form of each phrase, in the order of the text.
    """
    words = [(m.start(), m.end(), m.group().lower()) for m in _WORD.finditer(text)]
    lists = {name: tuple(_WORD.findall(name)) for name in names}
    found, run, k = [], [], 0

    def close() -> None:
        for i in range(0, len(run), LONGEST_RUN):
            part = run[i : i + LONGEST_RUN]
            found.append((part[0][0], part[-1][1], normal_form(" ".join(word for *_, word in part))))
        run.clear()

    while k < len(words):
        following = tuple(word for *_, word in words[k : k + 8])
        name = next((n for n in names if following[: len(lists[n])] == lists[n]), None)
        if name is not None:
            close()
            last = k + len(lists[name]) - 1
            found.append((words[k][0], words[last][1], normal_form(name)))
            k = last + 1
            continue
        start, _, word = words[k]
        if word in _UNSEEN or (run and text[run[-1][1] : start].strip()):
            close()
        if word not in _UNSEEN:
            run.append(words[k])
        k += 1
    close()
    return tuple(found)


@functools.lru_cache(maxsize=65536)
def phrase_tokens(phrase: str) -> tuple[np.ndarray, np.ndarray]:
    """CLIP's ids of a phrase, int32 [PHRASE_LENGTH], and True on those that name something visible."""
    tokens = _TOKENIZER(phrase)
    return tokens.ids, content_mask(Caption(phrase), tokens)


class Things(NamedTuple):
    """The domain's O things, in the ids of both tokenizers.

    Attributes:
      ids: int32 [O, ids], the language model's ids of the names as words in a sentence, padded with 0.
      phrase_ids: int32 [O, PHRASE_LENGTH], CLIP's ids.
      content: bool [O, PHRASE_LENGTH], True on those that name something visible.
    """

    ids: np.ndarray
    phrase_ids: np.ndarray
    content: np.ndarray


def encode_things(things: Sequence[str], tokenizer: GemmaTokenizer) -> Things:
    """Encodes the names of things."""
    return Things(thing_ids(things, tokenizer), *encode_phrases(tuple(normal_form(name_of(t)) for t in things)))


def encode_phrases(phrases: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """CLIP's ids of phrases, int32 [n, PHRASE_LENGTH], and True on those that name something visible."""
    shape = (len(phrases), PHRASE_LENGTH)
    ids, content = np.zeros(shape, np.int32), np.zeros(shape, bool)
    for row, phrase in enumerate(phrases):
        ids[row], content[row] = phrase_tokens(phrase)
    return ids, content


def thing_ids(things: Sequence[str], tokenizer: GemmaTokenizer) -> np.ndarray:
    """The language model's ids of the things' names, see ``Things.ids``."""
    names = [tokenizer.encode(f" {name_of(thing)}") for thing in things]
    ids = np.zeros((len(names), max(map(len, names), default=1)), np.int32)
    for row, name in enumerate(names):
        ids[row, : len(name)] = name
    return ids


def name_of(thing: str) -> str:
    """A thing's words in lower case without an article: ``The red ball`` becomes ``red ball``."""
    words = _WORD.findall(thing.lower())
    return " ".join(words[1:] if words[:1] in (["the"], ["a"], ["an"]) else words)


def normal_form(name: str) -> str:
    """The phrase that a name is read as by the text tower: ``red ball`` becomes ``the red ball``."""
    return f"the {name}"


def _keep_latest(words: Words) -> Words:
    """Keeps the tracks of the latest phrases where a very long conversation has more than the largest bucket."""
    surplus = len(words.phrases) - PHRASE_BUCKETS[-1]
    if surplus <= 0:
        return words
    return Words(np.maximum(words.rows - surplus, 0), words.phrases[surplus:])


_TOKENIZER = ClipTokenizer(PHRASE_LENGTH)

# Words that have a look but no place of their own: what things do, where in the picture they are, and how to be polite.
_DEEDS_AND_PLACES = frozenset(
    "hit hits hitting struck strike strikes striking touch touches touched touching meet meets met meeting contact "
    "contacts contacted collide collides collided knock knocks knocked push pushes pushed roll rolls rolled rolling "
    "move moves moved moving travel travels fall falls fell fallen falling drop drops dropped dropping pot pots potted "
    "potting sink sinks sank sunk sinking bounce bounces bounced bouncing rebound rebounds rest rests resting lie lies "
    "lying sit sits sitting stand stands standing reach reaches reached leave leaves left right top bottom upper lower "
    "centre center middle corner near nearer nearest far farther farthest close closer closest visible view shown "
    "present absent count many remaining first second third last earlier later again nothing change changed harder "
    "softer faster slower point coordinates coordinate place location located find tell say please yes no hello hi "
    "thanks thank correct statement confirm check answer sentence word words one ones role user model".split()
)
_UNSEEN = FUNCTION_WORDS | ABSTRACT_WORDS | _DEEDS_AND_PLACES
