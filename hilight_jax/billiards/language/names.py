"""Words for objects in captions and questions: 'ball:3' is 'the red ball' or, with numbers, 'the red 3-ball'."""

import dataclasses
import re

COLOURS = {1: "yellow", 2: "blue", 3: "red", 4: "purple", 5: "orange", 6: "green", 7: "brown", 8: "black"}


def ball_object(ball_id: str) -> str:
    """Returns the object name of a ball: '3' becomes 'ball:3'."""
    return f"ball:{ball_id}"


def phrase(name: str, numbers: bool) -> str:
    """Returns the words for an object.

    Args:
      name: an object name: 'ball:cue', 'ball:11', 'pocket:top-left', 'cushion:left' or 'cue' (the stick).
      numbers: name balls by colour and number; without numbers only the cue ball and the solids 1 to 8 have a name.
    """
    kind, _, which = name.partition(":")
    if kind == "cue":
        return "the cue"
    if kind in ("pocket", "cushion"):
        return f"the {which} {kind}"
    if which == "cue":
        return "the cue ball"
    number = int(which)
    if not numbers:
        return f"the {COLOURS[number]} ball"
    return f"the {COLOURS[number]} {number}-ball" if number <= 8 else f"the {COLOURS[number - 8]}-striped {number}-ball"


@dataclasses.dataclass(frozen=True)
class Namer:
    """Returns the words for objects in one world.

    Attributes:
      numbers: call balls by colour and number, as in `Style.numbers`.
      pool: ids of the object balls that clips of this world may show.
    """

    numbers: bool
    pool: tuple[str, ...]

    def __call__(self, name: str) -> str:
        """Returns the words for an object."""
        return phrase(name, self.numbers)


def count_tokens(text: str) -> int:
    """Estimates the CLIP tokens of a text: one per word, digit and run of punctuation, and the two at the ends."""
    return len(re.findall(r"[A-Za-z]+|\d|[^\sA-Za-z\d]+", text)) + 2
