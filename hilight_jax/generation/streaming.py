"""Ids become text as they come, and what has been shown never changes."""

from collections.abc import Iterable, Sequence
from typing import Protocol

# What half a character decodes to.
_REPLACEMENT = "\ufffd"


class Tokenizer(Protocol):
    """What an answer needs of a tokenizer; ``data/conversations/gemma_tokenizer.py`` has one.

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


class StopStrings:
    """A growing text as far as it goes before the first of some strings; what may be one's beginning is held back.

    Attributes:
      met: Whether it came to one.
    """

    def __init__(self, strings: Sequence[str]):
        """Looks out for ``strings``, none of them empty."""
        self._strings, self._held, self.met = tuple(strings), "", False

    def push(self, text: str) -> str:
        """Takes the next piece and returns what is certain by now, which may be empty."""
        text, self._held = self._held + text, ""
        places = [place for string in self._strings if (place := text.find(string)) >= 0]
        if places:
            self.met = True
            return text[: min(places)]
        beginnings = (string[:size] for string in self._strings for size in range(1, len(string)))
        held = max((len(beginning) for beginning in beginnings if text.endswith(beginning)), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """Returns what was held back, now that nothing follows."""
        text, self._held = self._held, ""
        return text
