"""Writes phrases in the ids of CLIP's byte-pair tokenizer, and marks the tokens that name something visible.

It imports the standard library and numpy alone; vocabulary and word lists lie in `words.json`.
"""

import itertools
import unicodedata

import numpy as np


class PhraseIds:
    """CLIP's ids of phrases in lower case, of words with one space between them."""

    def __init__(self, rules):
        """Takes the values of `words.json`.

        Args:
          rules: `phrase_length`, tokens of a phrase, start and end included; `empty_words`, which name nothing visible;
            `clip_alphabet`, the characters that stand for bytes, and `clip_merges`, the pairs of pieces that are
            joined, both in the order of the vocabulary; `clip_folded`, characters that CLIP's repair of texts replaces.
        """
        alphabet, merges = rules["clip_alphabet"], [tuple(pair.split(" ")) for pair in rules["clip_merges"]]
        others = iter(sorted(set(range(256)) - set(map(ord, alphabet))))
        self._bytes = {ord(c) if ord(c) < 256 else next(others): c for c in alphabet}
        pieces = [*alphabet, *(f"{c}</w>" for c in alphabet), *map("".join, merges)]
        self._ids, self._start, self._end = {x: i for i, x in enumerate(pieces)}, len(pieces), len(pieces) + 1
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._folded, self._empty = str.maketrans(rules["clip_folded"]), frozenset(rules["empty_words"])
        self._length = rules["phrase_length"]

    def __call__(self, phrases):
        """Returns the ids of phrases, int32 [n, L], zero where they end, and bool [n, L], True on content tokens."""
        ids = np.zeros((len(phrases), self._length), np.int32)
        content = np.zeros(ids.shape, bool)
        for row, phrase in enumerate(phrases):
            tokens = [(i, word not in self._empty) for word in phrase.split(" ") for i in self._split(word)]
            tokens = [(self._start, False), *tokens[: self._length - 2], (self._end, False)]
            ids[row, : len(tokens)], content[row, : len(tokens)] = zip(*tokens, strict=True)
        return ids, content

    def _split(self, word):
        """Ids of a word; digits are words of their own."""
        mended = unicodedata.normalize("NFC", word.translate(self._folded)).lower()
        parts = []
        for kind, characters in itertools.groupby(mended, lambda c: unicodedata.category(c)[0]):
            run = "".join(characters)
            parts += run if kind == "N" else [run]
        return [self._ids[piece] for part in parts for piece in self._merge(part)]

    def _merge(self, word):
        """Joins the neighbouring pair of the lowest rank everywhere it occurs, until no pair has a rank."""
        symbols = [self._bytes[byte] for byte in word.encode()]
        symbols[-1] += "</w>"
        while len(symbols) > 1:
            best = min(itertools.pairwise(symbols), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            apart = " " + "  ".join(symbols) + " "
            symbols = apart.replace(f" {best[0]}  {best[1]} ", f" {''.join(best)} ").split()
        return symbols
