"""A question about a clip before it has words: its kind, the objects that it names, and its answer."""

from collections.abc import Mapping
from typing import NamedTuple

from hilight_jax.billiards.language.footage import Namer

NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
Answer = bool | int | str


class Posed(NamedTuple):
    """A question without words.

    Attributes:
      kind: of the question, such as 'first_hit'.
      answer: True or False (yes or no), a number, an object name such as 'ball:3', or other words ('top left').
      slots: object names, or words, by the slot of a template that they fill.
      variant: of a kind whose questions have other templates each, such as 'start' and 'end'.
    """

    kind: str
    answer: Answer
    slots: Mapping[str, str] = {}
    variant: str = ""

    @property
    def key(self) -> str:
        """The name of its templates."""
        return f"{self.kind}:{self.variant}" if self.variant else self.kind


def short_answer(answer: Answer, name: Namer) -> str:
    """Returns the shortest answer: 'Yes.', 'Three.', 'The red ball.' or 'Top left.'; a point stays as it is."""
    if isinstance(answer, bool):
        return "Yes." if answer else "No."
    if isinstance(answer, int):
        return f"{number_words(answer).capitalize()}."
    if answer.startswith("<"):
        return answer
    words = name(answer) if ":" in answer else answer
    return f"{words[0].upper()}{words[1:]}."


def number_words(count: int) -> str:
    """Returns a count in words: 'none', 'one', ... 'ten', '11'."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)
