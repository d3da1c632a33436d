"""Open questions, "What happens in this clip?" and "Which balls are in view?", and the facts that their answers tell.

The answer tells the strikes and drops that the frames show, in order. A fact is a strike ('strike', who, whom) or a
drop ('drop', who); other sentences, on cushions or on what is in view, tell no fact and are neither right nor wrong.
Where the balls in view are asked for, a fact is a ball that is named ('seen', who).
"""

import re

import numpy as np

from hilight_jax.billiards.language.footage import COLOURS, Footage, Namer
from hilight_jax.billiards.language.grammar import capital
from hilight_jax.billiards.language.posed import Posed

OPEN, BALLS = "open", "balls"
_MOST = 4  # Facts of an answer.
TEMPLATES = (
    "what happens(| in this clip| here| in the clip| in this video)?",
    "describe (the clip|this clip|what happens|the shot)(.| in a sentence.)",
    "(tell|show) me what happens(.| in this clip.| here.)",
    "(summarise|sum up) (the clip|this clip|the shot).",
    "what (is going on|is happening|takes place)(| in this clip| here)?",
    "(give|write) a (short |brief |)(description|summary) of the (clip|shot|video).",
    "what (do you see|can be seen) happening(| here| in this clip)?",
)
_BALL = r"(?:the )?((?:[a-z]+-striped |[a-z]+ )?\d+-ball|[a-z]+ (?:ball|one)|\d+-ball)"
_WHO = r"(?:first |then |and |next |after that,? |yes, )*" + _BALL
_STRIKE = re.compile(_WHO + r" (?:then |first )?(?:hits|strikes|touches|meets|runs into) " + _BALL)
_STRUCK = re.compile(_WHO + r" (?:is|gets|was) (?:hit|struck|touched) by " + _BALL)
_DROP = re.compile(_WHO + r" (?:then )?(?:drops|falls|goes in|goes down|is potted|gets potted|is pocketed)")
# What names no ball that is there: what is denied, up to a full stop or a "but", and the colour of the table.
_DENIED = re.compile(
    r"\b(?:no|not(?! only)|without|neither|nor|cannot|(?:is|are|was|were|do|does|did|ca)nt)\b"
    r"(?:(?!\bbut\b|\bthere (?:is|are)\b)[^.;])*"
)
_TABLE = re.compile(
    r"\b(?:cloth|table|felt|baize)(?: is| has the colour|:)? [a-z]+\b"
    r"|\b(?!the\b)[a-z]+(?:-[a-z]+)?(?: pool| billiard)? (?:cloth|table|felt|baize)\b"
)
_COLOURED = re.compile(rf"\b(?:{'|'.join(COLOURS.values())}|cue(?! stick)|white)\b")
_WHITE = {"white": "cue"}
Fact = tuple[str, ...]


def what_happens(footage: Footage, name: Namer, rng: np.random.Generator) -> Posed | None:
    """Asks what happens, where the frames show every strike and drop, a few of them."""
    first = {}
    for happening in footage.happenings:
        if happening.kind in ("strike", "drop"):
            first.setdefault((happening.kind, happening.ball, happening.other), happening)
    told = list(first.values())
    if not 1 <= len(told) <= _MOST or not all(h.shown for h in told):
        return None
    sentences = []
    for happening in told:
        if happening.kind == "strike":
            sentences.append(f"{name(happening.ball)} hits {name(happening.other)}.")
        elif happening.other is None:
            sentences.append(f"{name(happening.ball)} is potted.")
        else:
            sentences.append(f"{name(happening.ball)} falls into {name(happening.other)}.")
    return Posed(OPEN, " ".join(map(capital, sentences)).removesuffix("."))


def facts_told(text: str) -> set[Fact]:
    """Returns the facts that a text tells, in the words of any world's names."""
    text = text.lower()
    facts = {("strike", _who(found[1]), _who(found[2])) for found in _STRIKE.finditer(text)}
    facts |= {("strike", _who(found[2]), _who(found[1])) for found in _STRUCK.finditer(text)}
    return facts | {("drop", _who(found[1])) for found in _DROP.finditer(text)}


def balls_told(text: str) -> set[Fact]:
    """Returns the balls that a text says are there, by their colours; a cloth's colour is no ball's."""
    text = re.sub("['’‘`´]", "", text.lower())
    for pattern in (_DENIED, _TABLE):
        text = pattern.sub(" ", text)
    names = _COLOURED.findall(text)
    return {("seen", _who(name)) for name in names}


def share_told(answer: str, truth: str, kind: str = OPEN) -> float:
    """Returns the share of the truth's facts that an answer tells, less the wrong ones, at least 0.

    A fact is a strike or a drop, and in answers to questions of the kind `BALLS` a ball that is named.
    """
    read = balls_told if kind == BALLS else facts_told
    told, true = read(answer), read(truth)
    return max(0.0, (len(told & true) - len(told - true)) / len(true)) if true else 0.0


def _who(words: str) -> str:
    """Returns the number of a ball in words, or else its colour."""
    number = re.search(r"\d+", words)
    colour = words.split(" ")[0]
    return number[0] if number else _WHITE.get(colour, colour)
