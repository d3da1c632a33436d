"""A small grammar of wordings: templates with choices, drawn from the trained two thirds or the held-out third.

A template is words with choices in round brackets, `does {a} (hit|strike) {b}?`, and slots in curly ones. `{a}` is
filled with words for an object in one of several forms, `{a:full}` in one form, and `{ps}` as it is; `[end]` stands for
a choice of `PHRASES`. Every combination of choices, forms of names counted, is one wording. A fixed rule, a hash of
the kind of question and the wording, holds a third of each kind out of training.
"""

import functools
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.footage import Namer

TRAINED, HELD_OUT = "trained", "held_out"
PHRASES = {
    "start": "(at the start|at the beginning|in the first frame|when the clip starts)",
    "end": "(at the end|in the last frame|when the clip ends|in the final frame)",
    "right": "(is that right?|right?|is that so?|correct?|is that correct?|yes or no?|true?)",
    "true": "(is it true that|is it right that|is it correct that|would you say that|can you confirm that)",
}
_FORMS = ("full", "full", "one")  # Of a slot without a form; the full name is twice as likely.
_HELD_OUT_OF = 3  # One wording of so many is held out.
_PLAIN_SHARE = 0.76  # Share of questions with capital letter and question mark.


def expand(template: str) -> list[str]:
    """Returns all wordings of a template; slots stay, each with its form."""
    template = re.sub(r"\[(\w+)\]", lambda found: PHRASES[found[1]], template)
    return _choices(re.sub(r"\{(\w)\}", lambda found: _forms(found[1]), template))


def is_held_out(kind: str, wording: str) -> bool:
    """Returns True for the third of a kind's wordings that training never shows."""
    digest = hashlib.sha256(f"{kind}\0{wording}".encode()).digest()
    return digest[0] % _HELD_OUT_OF == 0


@functools.cache
def wordings(kind: str, templates: tuple[str, ...], held_out: bool) -> tuple[tuple[str, ...], ...]:
    """Returns the trained or the held-out wordings of each template that has any."""
    groups = (tuple(w for w in expand(template) if is_held_out(kind, w) == held_out) for template in templates)
    return tuple(group for group in groups if group)


def draw(kind: str, templates: Sequence[str], held_out: bool, rng: np.random.Generator) -> str:
    """Draws a wording, each template as likely as the others, of the trained or the held-out ones."""
    groups = wordings(kind, tuple(templates), held_out)
    return pick(pick(groups, rng), rng)


def fill(wording: str, slots: Mapping[str, str], name: Namer) -> str:
    """Fills the slots with words and begins each sentence with a capital letter."""

    def words(found: re.Match) -> str:
        value = slots[found[1]]
        return name.form(value, found[2] or "full") if ":" in value or value == "cue" else value

    filled = re.sub(r"\{(\w+)(?::(\w+))?\}", words, wording)
    return re.sub(r"(?:^|(?<=[.?] ))[a-z]", lambda found: found[0].upper(), filled)


def typed(question: str, rng: np.random.Generator) -> str:
    """Returns a question as people type it: sometimes in small letters, sometimes without its last mark."""
    if rng.random() < _PLAIN_SHARE:
        return question
    small, unmarked = ((True, False), (False, True), (True, True))[int(rng.integers(3))]
    question = question.lower() if small else question
    return question[:-1] if unmarked and question[-1] in "?." else question


def capital(text: str) -> str:
    """Returns a text with a capital first letter."""
    return text[:1].upper() + text[1:]


def _forms(slot: str) -> str:
    return "(" + "|".join(f"{{{slot}:{form}}}" for form in _FORMS) + ")"


def _choices(template: str) -> list[str]:
    """Writes out the choices in brackets, inner ones first."""
    inner = re.search(r"\(([^()]*)\)", template)
    if inner is None:
        return [re.sub(r" {2,}", " ", template).replace(" ,", ",").replace(" ?", "?").replace(" .", ".").strip()]
    filled = (template[: inner.start()] + choice + template[inner.end() :] for choice in inner[1].split("|"))
    return list(itertools.chain.from_iterable(map(_choices, filled)))
