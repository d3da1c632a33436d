"""CLIP's byte-pair tokenizer, with the span of the original text that each token stands for.

Ids are those of OpenAI's ``SimpleTokenizer`` with its 49,408-entry vocabulary: text is repaired (ftfy), unescaped
(HTML), stripped, lower-cased, split into words, and every word is merged pair by pair. A text longer than the model
keeps its first tokens, and its last position is overwritten with the end token (Long-CLIP's
``tokenize(truncate=True)``). A literal ``<|endoftext|>`` in a text becomes the end token, as in the original: pooling
then stops there.
"""

import difflib
import functools
import gzip
import html
import importlib.resources
import re
from typing import NamedTuple

import ftfy
import numpy as np
import regex

PAD_ID = 0
START_ID = 49406
END_ID = 49407
VOCABULARY_SIZE = 49408
_SPECIAL = {"<|startoftext|>": START_ID, "<|endoftext|>": END_ID}
_WORD = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)
_END_OF_WORD = "</w>"
_SPACE = re.compile(r"\s+")


class Tokens(NamedTuple):
    """One tokenised text of fixed length L.

    Attributes:
      ids: int32 [L], start token, text, end token, zeros.
      mask: bool [L], True on real tokens, start and end included.
      spans: int32 [L, 2], first and last + 1 character of the original text that a token stands for; (0, 0) for the
        start token, the end token and padding.
      truncated: True if tokens were cut off.
    """

    ids: np.ndarray
    mask: np.ndarray
    spans: np.ndarray
    truncated: bool


class ClipTokenizer:
    """Tokenises for one text length: 77 for CLIP and CLIP-ViP, 248 for Long-CLIP."""

    def __init__(self, max_length: int = 77):
        """Args: ``max_length`` is L, at least 2 (start and end)."""
        self.max_length = max_length

    def __call__(self, text: str) -> Tokens:
        """Tokenises one text."""
        pieces, pieces_spans = encode(text)
        kept = self.max_length - 2
        length = min(len(pieces), kept) + 2
        ids = np.full(self.max_length, PAD_ID, np.int32)
        ids[0] = START_ID
        ids[1 : length - 1] = pieces[:kept]
        ids[length - 1] = END_ID
        spans = np.zeros((self.max_length, 2), np.int32)
        if pieces_spans:
            spans[1 : length - 1] = pieces_spans[:kept]
        return Tokens(ids, np.arange(self.max_length) < length, spans, len(pieces) > kept)


def encode(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Returns the ids of a text, without start and end, and the span of the original text behind each."""
    cleaned = _clean(text)
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    for match in _WORD.finditer(cleaned.text):
        split = _split_short_word if len(match.group()) <= 64 else _split_word
        for token, first, last in split(match.group()):
            ids.append(token)
            spans.append(cleaned.origin(match.start() + first, match.start() + last))
    return ids, spans


def _split_word(word: str) -> tuple[tuple[int, int, int], ...]:
    """Returns (id, first character, last character + 1) of every token of a cleaned word."""
    if word in _SPECIAL:
        return ((_SPECIAL[word], 0, len(word)),)
    character_of_byte = [i for i, character in enumerate(word) for _ in character.encode()]
    characters = _byte_characters()
    symbols = [characters[byte] for byte in word.encode()]
    symbols[-1] += _END_OF_WORD
    tokens, position = [], 0
    for symbol in _merge(symbols):
        length = len(symbol.removesuffix(_END_OF_WORD))
        first, last = character_of_byte[position], character_of_byte[position + length - 1] + 1
        tokens.append((vocabulary().ids[symbol], first, last))
        position += length
    return tuple(tokens)


_split_short_word = functools.lru_cache(maxsize=65536)(_split_word)


def _merge(symbols: list[str]) -> list[str]:
    """Joins the neighbouring pair of the lowest rank everywhere it occurs, until no pair has a rank."""
    ranks = vocabulary().ranks
    while len(symbols) > 1:
        best = min(zip(symbols, symbols[1:], strict=False), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        joined, i = [], 0
        while i < len(symbols):
            if tuple(symbols[i : i + 2]) == best:
                joined.append(symbols[i] + symbols[i + 1])
                i += 2
            else:
                joined.append(symbols[i])
                i += 1
        symbols = joined
    return symbols


class Vocabulary(NamedTuple):
    """Ids of all pieces, and the rank of every pair of pieces that can be joined."""

    ids: dict[str, int]
    ranks: dict[tuple[str, str], int]


@functools.cache
def vocabulary() -> Vocabulary:
    """Reads the vocabulary in OpenAI's order: bytes, bytes that end a word, merges by rank, start and end token."""
    packed = importlib.resources.files("hilight_jax.data").joinpath("clip_vocabulary/merges.txt.gz").read_bytes()
    merges = [tuple(line.split()) for line in gzip.decompress(packed).decode().splitlines()]
    alphabet = _byte_characters(in_vocabulary_order=True)
    names = [*alphabet, *(c + _END_OF_WORD for c in alphabet), *map("".join, merges), *_SPECIAL]
    return Vocabulary({name: i for i, name in enumerate(names)}, {pair: i for i, pair in enumerate(merges)})


@functools.cache
def _byte_characters(in_vocabulary_order: bool = False) -> list[str]:
    """Returns the printable character that stands for each byte: itself where printable, else one from U+0100 on.

    The vocabulary lists the printable bytes first, then the others.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    character = {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [character[byte] for byte in ([*printable, *others] if in_vocabulary_order else range(256))]


class _CleanText(NamedTuple):
    """A cleaned text and the original characters behind it.

    Attributes:
      text: Repaired, unescaped, stripped, spaces collapsed, lower-cased.
      first: For every character of ``text``, the first original character behind it.
      last: For every character of ``text``, one past the last original character behind it.
    """

    text: str
    first: list[int] | range
    last: list[int] | range

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Returns the span of the original text behind ``text[start:end]``, which must not be empty."""
        return min(self.first[start:end]), max(self.last[start:end])


def _clean(text: str) -> _CleanText:
    """Cleans like OpenAI's tokenizer: ftfy, HTML unescaping twice, strip, single spaces, lower case."""
    if text.isascii() and text.isprintable() and "&" not in text and "  " not in text and text.strip() == text:
        return _CleanText(text.lower(), range(len(text)), range(1, len(text) + 1))
    mended = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    cleaned = _SPACE.sub(" ", mended).strip().lower()
    return _CleanText(cleaned, *_align(text, cleaned))


def _align(text: str, cleaned: str) -> tuple[list[int], list[int]]:
    """Finds the original characters behind each cleaned one; a changed passage stands for the whole passage."""
    lowered = [character.lower() for character in text]  # Some capitals have small forms of several characters.
    origin = [i for i, small in enumerate(lowered) for _ in small] + [len(text)]
    first, last = [0] * len(cleaned), [0] * len(cleaned)
    matcher = difflib.SequenceMatcher(None, "".join(lowered), cleaned, autojunk=False)
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        for b in range(b0, b1):
            start, end = (a0 + b - b0, a0 + b - b0 + 1) if tag == "equal" else (a0, a1)
            first[b] = origin[start]
            last[b] = origin[end - 1] + 1 if end > start else first[b]
    return first, last
