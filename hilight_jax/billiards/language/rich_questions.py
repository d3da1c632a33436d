"""Writes the questions of a clip in many wordings, with their follow-ups, and talk without a clip.

Every question notes which wording it has ('trained' or 'held_out'; in training only the trained two thirds occur), the
group of questions that it is one of whatever its words ('about'), and all answers that are right ('accepted', the
stored answer among them). One question in seven asks for a sentence, where its kind has one.
"""

from collections.abc import Callable, Sequence

import numpy as np

from hilight_jax.billiards.language import everyday, foresight, pairs, places, talk, telling
from hilight_jax.billiards.language.answers import SENTENCE_ASKS, right_answers, sentence_answer
from hilight_jax.billiards.language.commentary import pick
from hilight_jax.billiards.language.follow_ups import FOLLOW_UP, follow_up
from hilight_jax.billiards.language.follow_ups import TEMPLATES as FOLLOW_UP_TEMPLATES
from hilight_jax.billiards.language.footage import Footage, Namer
from hilight_jax.billiards.language.future_templates import FUTURE
from hilight_jax.billiards.language.grammar import HELD_OUT, TRAINED, capital, draw, fill, typed, wordings
from hilight_jax.billiards.language.posed import Posed
from hilight_jax.billiards.language.questions import TYPES
from hilight_jax.billiards.language.templates import SEEN, TWO_CLIPS

Ask = Callable[[Footage, Namer, np.random.Generator], Posed | None]
RICH_TYPES: dict[str, Ask] = {
    **TYPES,
    "count": everyday.count,
    "first_hit": pairs.first_hit,
    "potted": everyday.potted,
    "pocket": everyday.pocket,
    "cushion": everyday.cushion,
    "in_view": everyday.in_view,
    "potted_ball": everyday.potted_ball,
    telling.BALLS: everyday.balls,
    "moves": everyday.moves,
    "cloth": everyday.cloth,
    "collide": pairs.collide,
    "left_of": pairs.left_of,
    "where": everyday.where,
    "point": places.point_at,
    "next": foresight.next_hit,
    "next_potted": foresight.next_potted,
    "what_if": foresight.what_if,
    "what_if_potted": foresight.what_if_potted,
    telling.OPEN: telling.what_happens,
    talk.UNANSWERABLE: talk.unanswerable,
}
TEMPLATES = {
    **SEEN,
    **FUTURE,
    **FOLLOW_UP_TEMPLATES,
    telling.OPEN: telling.TEMPLATES,
    talk.UNANSWERABLE: talk.TEMPLATES,
}
# Variants that share wordings: what is held out for one is held out for the other.
HELD_OUT_AS = {f"{FOLLOW_UP}:other_side": f"{FOLLOW_UP}:side"}
# Kinds that few clips give: these are asked twice.
_TWICE = ("order", "potted", "pocket", "cushion", "collide", "what_if_potted")
_SENTENCE_SHARE = 1 / 7
_FOLLOW_UP_SHARE = 0.5
_HELD_OUT_SHARE = 0.5  # Of the questions in held-out splits.
_NUM_TALKS = 2  # Questions without a clip that are stored with each clip.


def rich_questions(footage: Footage, name: Namer, rng: np.random.Generator, trains: bool) -> list[dict]:
    """Writes every kind of question that a clip answers, each once, rare kinds twice about different things.

    Args:
      footage: the clip.
      name: words for objects.
      rng: draws everything.
      trains: True for a clip that is trained on: its wordings are the trained ones; elsewhere a coin decides.

    Returns:
      Dicts of 'question', 'answer', 'type', 'wording', 'about' and 'accepted', and, of a question that another one
      continues, 'follow_up', such a dict.
    """
    asked = {}
    for kind, ask in RICH_TYPES.items():
        for _ in range(1 + (kind in _TWICE)):
            posed = ask(footage, name, rng)
            if posed is None or _about(posed) in asked:
                continue
            written = _written(posed, name, rng, trains)
            following = follow_up(footage, posed, rng) if rng.random() < _FOLLOW_UP_SHARE else None
            if following is not None:
                written["follow_up"] = _written(following, name, rng, trains)
                written["follow_up"]["about"] = f"{written['about']}, {written['follow_up']['about']}"
            asked[written["about"]] = written
    return list(asked.values())


def talks(rng: np.random.Generator, trains: bool) -> list[dict]:
    """Writes some questions that need no clip, as `rich_questions` does."""
    written = []
    for _ in range(_NUM_TALKS):
        held_out = _is_held_out(rng, trains)
        answer, templates = pick([pair for pair in talk.talk() if wordings(talk.NO_CLIP, pair[1], held_out)], rng)
        question = typed(capital(draw(talk.NO_CLIP, templates, held_out, rng)), rng)
        written.append(_label(question, answer, talk.NO_CLIP, held_out, templates[0], [answer]))
    return written


def _written(posed: Posed, name: Namer, rng: np.random.Generator, trains: bool) -> dict:
    held_out = _is_held_out(rng, trains)
    accepted, sentence = right_answers(posed, name), sentence_answer(posed, name)
    wording = draw(HELD_OUT_AS.get(posed.key, posed.key), TEMPLATES[posed.key], held_out, rng)
    question = typed(fill(wording, {"k": "ball:cue", **posed.slots}, name), rng)
    answer = accepted[0]
    if sentence is not None and rng.random() < _SENTENCE_SHARE:
        question, answer = _asked_for_a_sentence(question, held_out, rng), sentence
    return _label(question, answer, posed.kind, held_out, _about(posed), accepted)


def comparison(rng: np.random.Generator, trains: bool) -> dict:
    """Draws the wording of a question about two clips: 'question', with '{clause}' for a statement, 'wording'."""
    held_out = _is_held_out(rng, trains)
    question = draw("two_clips", TWO_CLIPS, held_out, rng)
    return {"question": capital(question), "wording": HELD_OUT if held_out else TRAINED}


def _about(posed: Posed) -> str:
    """Returns the kind and the objects of a question, the same for all its wordings."""
    return " ".join([posed.key, *(value for slot, value in posed.slots.items() if slot not in ("p", "q"))])


def _asked_for_a_sentence(question: str, held_out: bool, rng: np.random.Generator) -> str:
    """Returns a question with a request for a sentence before or behind it."""
    request = capital(draw("sentence", SENTENCE_ASKS, held_out, rng))
    if request.endswith(":"):
        return f"{request} {question}"
    return f"{question}{'' if question[-1] in '?.' else '?'} {request}"


def _is_held_out(rng: np.random.Generator, trains: bool) -> bool:
    return not trains and bool(rng.random() < _HELD_OUT_SHARE)


def _label(question: str, answer: str, kind: str, held_out: bool, about: str, accepted: Sequence[str]) -> dict:
    return {
        "question": question,
        "answer": answer,
        "type": kind,
        "wording": HELD_OUT if held_out else TRAINED,
        "about": about,
        "accepted": list(accepted),
    }
