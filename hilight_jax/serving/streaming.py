"""Ids become text as they come, and what has been shown never changes."""

from collections.abc import Iterable
from typing import Protocol

# What half a character decodes to.
_REPLACEMENT = "\ufffd"


class Tokenizer(Protocol):
    """What an answer needs of a tokenizer; ``data/gemma_tokenizer.py`` has one.

    Attributes:
      vocab_size: Every id is below it.
      stop_ids: Ids that end an answer.
    """

    vocab_size: int
    stop_ids: tuple[int, ...]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, half characters as U+FFFD."""
        ...


class TextStream:
    """The text of one answer as its ids arrive.

    A character may take several ids (bytes, for what the vocabulary does not hold): it is held back until it is whole.

    Attributes:
      text: All that was given out.
    """

    def __init__(self, tokenizer: Tokenizer):
        """Starts with no ids."""
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self.text = ""

    def push(self, token: int) -> str:
        """Takes the next id and returns the text that it completes, which may be empty."""
        self._ids.append(token)
        return self._advance(self._tokenizer.decode(self._ids).rstrip(_REPLACEMENT))

    def finish(self) -> str:
        """Returns what was held back, now that nothing follows that could complete it."""
        return self._advance(self._tokenizer.decode(self._ids))

    def _advance(self, text: str) -> str:
        if not text.startswith(self.text):
            return ""  # Shorter than before: the latest id began a character.
        new = text[len(self.text) :]
        self.text = text
        return new
