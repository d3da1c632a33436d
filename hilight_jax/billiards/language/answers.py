"""Answers in words: short ones, which most questions get, sentences where one is asked for, and other right forms."""

from hilight_jax.billiards.language.footage import Namer
from hilight_jax.billiards.language.grammar import capital, fill
from hilight_jax.billiards.language.posed import Posed, number_words, short_answer

NOT_IN_VIEW = "it is not in view"
NO_BALL = "none"
NOT_POTTED = "it is not potted"
NO_CUSHION = "it touches none"
SENTENCE_ASKS = ("(please |)(answer|reply|respond) (in|with) a (full |whole |)sentence(:|.)",)
_YES_NO = {  # Sentences for yes and no.
    "hit": ("yes, {k} hits {a}.", "no, {k} does not hit {a}."),
    "collide": ("yes, {a} hits {b}.", "no, {a} does not hit {b}."),
    "order": ("yes, {ps} before {qs}.", "no, {qs} before {ps}."),
    "potted": ("yes, {a} is potted.", "no, {a} is not potted."),
    "moves": ("yes, {a} moves.", "no, {a} does not move."),
    "left_of": ("yes, {a} is left of {b}.", "no, {a} is right of {b}."),
    "potted:any": ("yes, a ball is potted.", "no, no ball is potted."),
    "in_view": ("yes, {a} is in view.", "no, {a} is not in view."),
    "in_view:start": ("yes, {a} is in view at the start.", "no, {a} is not in view at the start."),
    "in_view:end": ("yes, {a} is in view at the end.", "no, {a} is not in view at the end."),
    "next_potted": ("yes, {a} will be potted.", "no, {a} will not be potted."),
    "what_if_potted": ("yes, {b} would be potted.", "no, {b} would not be potted."),
}
_OTHERS = {
    "count": "{n} in view at the start.",
    "count:plain": "{n} in view.",
    "count:any": "{n} in view over the whole clip.",
    "count:end": "{n} in view at the end.",
    "count_potted": "{n} potted.",
    "cloth": "the cloth is {x}.",
    "cushions": "{k} touches {t}.",
    "first_hit": "{k} hits {x} first.",
    "potted_ball": "{x} is potted.",
    "pocket": "{a} falls into {x}.",
    "cushion": "{a} touches {x}.",
    "left_or_right": "{a} is {x} of {b} at the end.",
    "nearest": "{x} is nearest to {k} at the end.",
    "next": "{a} will hit {x} next.",
    "what_if": "without {a} {k} would hit {x} first.",
    "where:start": "{a} is {x} at the start.",
    "where:end": "{a} is {x} at the end.",
    "where:to": "{a} ends up {x}.",
}
# Sentences for the answers that nothing is so, by kind and answer.
_NOTHING = {
    ("what_if", NO_BALL): "without {a} {k} would hit no ball.",
    ("potted_ball", NO_BALL): "no ball is potted.",
    ("pocket", NOT_POTTED): "{a} is not potted.",
    ("cushion", NO_CUSHION): "{a} touches no cushion.",
}
# Other right answers for these.
_OR_SHORTER = {
    NOT_IN_VIEW: ("Not in view.", "Nowhere.", "It cannot be seen."),
    NO_BALL: ("No ball.", "No other ball.", "Nothing."),
    NOT_POTTED: (
        "None.",
        "No pocket.",
        "Into none.",
        "It falls into none.",
        "It does not fall into a pocket.",
        "Nowhere.",
    ),
    NO_CUSHION: (
        *("None.", "No cushion.", "No rail.", "It touches no cushion.", "It touches no rail."),
        *("It does not touch a cushion.", "It does not touch any cushion."),
    ),
}
_PLACES = {"left": "on the left", "right": "on the right", "middle": "in the middle"}


def sentence_answer(posed: Posed, name: Namer) -> str | None:
    """Returns the answer as a sentence; None for kinds that have none."""
    if isinstance(posed.answer, bool):
        pair = _YES_NO.get(posed.key, _YES_NO.get(posed.kind))
        template = pair[not posed.answer] if pair else None
    elif posed.answer in (NO_BALL, NOT_POTTED, NO_CUSHION):
        template = _NOTHING.get((posed.key, posed.answer))
    else:
        template = _OTHERS.get(posed.key)
    return None if template is None else _filled(template, posed, name)


def right_answers(posed: Posed, name: Namer) -> list[str]:
    """Returns all answers that are as right as the short one, which comes first."""
    answers, answer = [short_answer(posed.answer, name)], posed.answer
    if sentence := sentence_answer(posed, name):
        answers.append(sentence)
    if isinstance(answer, int) and not isinstance(answer, bool):
        answers += [f"{capital(_balls(answer))}."] if posed.kind != "cushions" else [_times(answer)]
    elif isinstance(answer, str) and ":" in answer:
        answers += [f"{capital(name.form(answer, form))}." for form in ("one", "bare", "short")]
        answers += ["The white one.", "White."] if answer == "ball:cue" else []
    elif "b" in posed.slots and answer in ("left", "right"):
        answers += [f"To the {answer}.", f"On the {answer}.", f"It is {answer}."]
        answers += [f"{capital(answer)} of {name(posed.slots['b'])}.", f"It is {answer} of {name(posed.slots['b'])}."]
    elif isinstance(answer, str) and answer in PLACES:
        answers += [f"{capital(in_place(answer))}.", f"It is {in_place(answer)}.", f"In the {answer}."]
        answers += [f"It ends up {in_place(answer)}."] if posed.variant == "to" else []
    elif posed.kind == "cloth":
        answers += [f"It is {answer}.", f"The table is {answer}."]
    elif answer in _OR_SHORTER:
        answers += _OR_SHORTER[answer]
        answers += ["Nothing is potted.", "No ball is pocketed."] if posed.kind == "potted_ball" else []
    return list(dict.fromkeys(answers))


ROWS, COLUMNS = ("top", "", "bottom"), ("left", "", "right")
PLACES = tuple(" ".join(filter(None, (row, column))) or "middle" for row in ROWS for column in COLUMNS)


def in_place(place: str) -> str:
    """Returns a place of `PLACES` in a sentence: 'at the top left', 'on the left', 'in the middle'."""
    return _PLACES.get(place, f"at the {place}")


def _filled(template: str, posed: Posed, name: Namer) -> str:
    answer = posed.answer
    if isinstance(answer, int):
        slots = {"n": _are(_balls(answer), answer), "t": _times(answer).removesuffix(".").lower()}
    else:
        words = in_place(answer) if answer in PLACES and posed.kind == "where" else answer
        slots = {"x": "not in view" if words == NOT_IN_VIEW else words}
    return fill(template, {"k": "ball:cue", **posed.slots, **slots}, name)


def _balls(count: int) -> str:
    return "no ball" if count == 0 else "one ball" if count == 1 else f"{number_words(count)} balls"


def _are(words: str, count: int) -> str:
    return f"{words} {'is' if count < 2 else 'are'}"


def _times(count: int) -> str:
    if count == 0:
        return "No cushion."
    return f"A cushion {number_words(count)} time{'s' if count > 1 else ''}."
