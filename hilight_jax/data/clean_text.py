"""CLIP's cleaning of a text before it is split into words, with the way back to the original characters."""

import difflib
import html
import re
from typing import NamedTuple

import ftfy

_SPACE = re.compile(r"\s+")


class CleanText(NamedTuple):
    """A cleaned text and where it comes from.

    Attributes:
      text: Mended, unescaped, stripped, spaces collapsed, lower-cased.
      first: For every character of ``text``, the first original character behind it.
      last: For every character of ``text``, one past the last original character behind it.
    """

    text: str
    first: list[int] | range
    last: list[int] | range

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Returns the span of the original text behind ``text[start:end]``, which must not be empty."""
        return min(self.first[start:end]), max(self.last[start:end])


def clean(text: str) -> CleanText:
    """Cleans like OpenAI's tokenizer: ftfy, HTML unescaping twice, strip, single spaces, lower case."""
    if text.isascii() and text.isprintable() and "&" not in text and "  " not in text and text.strip() == text:
        return CleanText(text.lower(), range(len(text)), range(1, len(text) + 1))
    mended = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    cleaned = _SPACE.sub(" ", mended).strip().lower()
    return CleanText(cleaned, *_align(text, cleaned))


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
