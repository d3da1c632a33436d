"""Sentences as lists of strings and named things, and their text with the spans of the things."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Thing(NamedTuple):
    """Words that name an object.

    Attributes:
      text: the words.
      name: the object's name, such as 'ball:3'.
    """

    text: str
    name: str


Sentence = Sequence[str | Thing]


def written(sentences: Iterable[Sentence]) -> dict:
    """Joins sentences, each with a capital letter, and notes the spans of the things; 'text' and 'spans'."""
    text, spans = "", []
    for sentence in sentences:
        first = len(text) + bool(text)
        for piece in [" " if text else "", *sentence]:
            if isinstance(piece, Thing):
                start, text = len(text), text + piece.text
                kind = piece.name.partition(":")[0]
                spans.append({"start": start, "end": len(text), "kind": kind, "object": piece.name})
            else:
                text += piece
        text = text[:first] + text[first : first + 1].upper() + text[first + 1 :]
    return {"text": text, "spans": spans}


def plain_text(sentence: Sentence) -> str:
    """Returns the text of one sentence, without a capital letter."""
    return "".join(piece.text if isinstance(piece, Thing) else piece for piece in sentence)


def listing(things: Sequence[Thing]) -> list[str | Thing]:
    """Returns an enumeration with commas and 'and'."""
    pieces: list[str | Thing] = []
    for k, thing in enumerate(things):
        pieces += ["" if k == 0 else " and " if k == len(things) - 1 else ", ", thing]
    return pieces
