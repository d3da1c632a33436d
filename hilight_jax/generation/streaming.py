"""Turns an answer's token ids into text as they arrive; text that was returned never changes."""

from collections.abc import Sequence
from typing import Literal

from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer

# An incomplete character decodes to this.
_REPLACEMENT = "\ufffd"


class AnswerState:
    """An answer in progress.

    Attributes:
      ids: The tokens so far, without the one that ended the answer.
      text: The text so far; it lacks an incomplete character and the possible beginning of a stop string.
      budget: The most tokens that it may have.
      finish_reason: ``stop`` after a stop token or stop string, ``length`` at the budget, None before.
    """

    def __init__(
        self, tokenizer: GemmaTokenizer, budget: int, stop_ids: frozenset[int], stop_strings: Sequence[str] = ()
    ):
        """Starts with no tokens."""
        self.ids: list[int] = []
        self.text = ""
        self.budget = budget
        self.finish_reason: Literal["stop", "length"] | None = None
        self._stop_ids = stop_ids
        self._stream, self._stops = TextStream(tokenizer), StopStrings(stop_strings)

    def push(self, token: int) -> str:
        """Takes the next token and returns the text that it completes, which may be empty."""
        text = ""
        if token in self._stop_ids:
            self.finish_reason = "stop"
        else:
            self.ids.append(token)
            text = self._stream.push(token)
            if len(self.ids) == self.budget:
                self.finish_reason = "length"
        if self.finish_reason:
            text += self._stream.finish()
        text = self._stops.push(text)
        if self._stops.met:
            self.finish_reason = "stop"
        elif self.finish_reason:
            text += self._stops.finish()
        self.text += text
        return text


class TextStream:
    """Decodes ids one by one.

    A character outside the vocabulary takes several ids, one for each byte; it is held back until it is complete.

    Attributes:
      text: The text that was returned so far.
    """

    def __init__(self, tokenizer: GemmaTokenizer):
        """Starts with no ids."""
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self.text = ""

    def push(self, token: int) -> str:
        """Takes the next id and returns the text that it completes, which may be empty."""
        self._ids.append(token)
        return self._advance(self._tokenizer.decode(self._ids).rstrip(_REPLACEMENT))

    def finish(self) -> str:
        """Returns the text that was held back."""
        return self._advance(self._tokenizer.decode(self._ids))

    def _advance(self, text: str) -> str:
        if not text.startswith(self.text):
            return ""  # Shorter than before: the latest id begins a character.
        new = text[len(self.text) :]
        self.text = text
        return new


class StopStrings:
    """Ends a growing text before the first stop string; a possible beginning of one is held back.

    Attributes:
      met: True once the text has reached a stop string.
    """

    def __init__(self, strings: Sequence[str]):
        """Takes the stop strings, none of them empty."""
        self._strings, self._held, self.met = tuple(strings), "", False

    def push(self, text: str) -> str:
        """Takes the next piece and returns the text that cannot be part of a stop string, which may be empty."""
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
        """Returns the text that was held back."""
        text, self._held = self._held, ""
        return text
