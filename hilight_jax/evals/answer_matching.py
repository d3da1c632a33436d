"""Scores of one answer against the truth.

The rules of matching are the same for our own models and for foreign predictions. An answer matches *exactly* when it
equals the truth, white space at both ends aside: the rule of the published evaluators of ActivityNet-QA, MSVD-QA and
MSRVTT-QA. It matches *normalised* when both are equal after

1. Unicode NFKC and lower case;
2. dropping apostrophes, and putting a space for every character that is no letter, digit, or point or comma between
   two digits ("3-ball" and "3 ball" are the same, "1.5" stays);
3. dropping the articles a, an and the;
4. writing the number words from none and zero to twenty as digits;
5. joining what is left by single spaces.

A truth of which nothing is left can only be matched exactly. A truth that is only yes or no is also matched by an
answer that begins with that word ("Yes, it does."), unless it refuses ("No idea.") or has the other word as well ("Yes
and no."). An answer refuses when nothing is left of it, or when it holds one of a chat model's stock phrases
(`_REFUSALS`).

An answer is right, score 1, when it matches the truth or another answer that is accepted beside it. Three kinds of
questions are scored otherwise. The answer to a `POINT` question is right when its point lies within `POINT_TOLERANCE`
percent of the picture and `TIME_TOLERANCE` percent of the clip's length of the true one. The answers to `OPEN`
questions, and to those for all `BALLS`, score the share of the truth's facts that they tell, less the wrong ones
(`billiards/language/telling.py`).
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from hilight_jax.billiards.language.telling import BALLS, OPEN, share_told

POINT = "point"
POINT_TOLERANCE, TIME_TOLERANCE = 6.0, 10.0
_POINT = re.compile(r'<point x="(-?[\d.]+)" y="(-?[\d.]+)" t="([\d.]+)"')
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS.split())} | {"none": "0"}
_ARTICLES = {"a", "an", "the"}
_APOSTROPHES = re.compile(r"['’‘`´]")
_NO_WORD = re.compile(r"(?<!\d)[.,]|[.,](?!\d)|[^\w.,]|_")
# Matched in the normalised answer, which has no apostrophes and articles.
_REFUSALS = re.compile(
    r"\b((can ?not|cant|could not|couldnt) (tell|say|see|determine|answer|know|identify|be determined)"
    r"|(do not|dont) know|(am|im) not sure|unable to|no idea|not (clear|enough information)|unclear|unknown"
    r"|impossible to (tell|say|determine)|sorry|as ai)\b"
)


def score(answer: str, truth: str, kind: str = "", accepted: Sequence[str] = ()) -> float:
    """Returns the score of an answer, from 0 to 1; only answers to kinds that tell facts score between."""
    if kind in (OPEN, BALLS) and share_told(truth, truth, kind):
        return 0.0 if refuses(answer) else share_told(answer, truth, kind)
    if kind == POINT and _POINT.search(truth):
        return float(points_agree(answer, truth))
    return float(any(matches(answer, right) for right in (truth, *accepted)))


def points_agree(answer: str, truth: str) -> bool:
    """True if the first points of two texts are near each other in place and time."""
    points = [_POINT.search(text) for text in (answer, truth)]
    try:
        (x, y, t), (true_x, true_y, true_t) = (map(float, point.groups()) for point in points if point)
    except ValueError:  # A text without a point, or with a number such as 1.2.3.
        return False
    return math.hypot(x - true_x, y - true_y) <= POINT_TOLERANCE and abs(t - true_t) <= TIME_TOLERANCE


def normalise(text: str) -> str:
    """Applies rules 1 to 5 to a text; empty when nothing is left."""
    text = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).lower())
    words = (word for word in _NO_WORD.sub(" ", text).split() if word not in _ARTICLES)
    return " ".join(_DIGITS.get(word, word) for word in words)


def matches_exactly(answer: str, truth: str) -> bool:
    """True if an answer equals the truth, letter by letter."""
    return answer.strip() == truth.strip()


def matches(answer: str, truth: str) -> bool:
    """True if an answer equals the truth after normalisation, or begins with the yes or no that the truth is."""
    normalised = normalise(truth)
    if not normalised:
        return matches_exactly(answer, truth)
    return normalise(answer) == normalised or (normalised in ("yes", "no") and yes_or_no(answer) == normalised)


def yes_or_no(answer: str) -> Literal["yes", "no"] | None:
    """The yes or no that an answer begins with, if it does and neither refuses nor goes on with the other word."""
    words = normalise(answer).split()
    if not {"yes", "no"} & set(words[:1]) or {"yes", "no"} <= set(words) or refuses(answer):
        return None
    return words[0]


def refuses(answer: str) -> bool:
    """True if an answer is empty or a stock phrase of not knowing."""
    normalised = normalise(answer)
    return not normalised or _REFUSALS.search(normalised) is not None
