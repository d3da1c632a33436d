"""Adds to the embeddings of a prompt's words what the clips before them show of the things that they name."""

import json

import numpy as np

_STEP = 8  # Phrases come in multiples of it, so that few lengths are compiled.


class Words:
    """Finds the phrases of prompts in their ids, and the vectors that their words carry."""

    def __init__(self, root, module, vectors, max_clips):
        """Takes a function that loads a file's code, the program, and the clips of a prompt that words tell apart."""
        rules = json.loads((root / "words.json").read_text(encoding="utf-8"))
        pieces = dict(enumerate(piece.encode("latin-1") for piece in rules["pieces"]))
        self._find = module(root / "phrases.py").PhraseFinder(lambda i: pieces.get(i, b""), rules)
        self._encode = module(root / "phrase_ids.py").PhraseIds(rules)
        self._vectors, self._max_clips, self._video_id = vectors, max_clips, rules["video_id"]

    def __call__(self, prompt, clips, width):
        """Returns the vector that each row carries, float32 [n, width]: the sum over the clips before it."""
        if len(clips) > self._max_clips:
            raise ValueError(
                f"a prompt has {len(clips)} clips, but words tell {self._max_clips} apart; ask about fewer."
            )
        ids, carried = np.asarray(prompt, np.int32), np.zeros((len(prompt), width), np.float32)
        rows, phrases = self._find(ids)
        if not clips or not phrases:
            return carried
        phrase_ids, content = self._encode([*phrases, *["the"] * (-len(phrases) % _STEP)])
        patches = np.stack([clip["patch_features"] for clip in clips])
        vectors = np.asarray(self._vectors(patches, phrase_ids, content))
        shown = np.cumsum(ids == self._video_id) // len(clips[0]["video_tokens"])
        for number, of_phrases in enumerate(vectors):
            where = (rows > 0) & (shown > number)
            carried[where] += of_phrases[rows[where] - 1]
        return carried
