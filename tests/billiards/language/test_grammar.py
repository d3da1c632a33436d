import numpy as np
import pytest

from hilight_jax.billiards.language import rich_questions, talk
from hilight_jax.billiards.language.follow_ups import FOLLOW_UP
from hilight_jax.billiards.language.footage import Namer
from hilight_jax.billiards.language.grammar import draw, expand, fill, is_held_out, typed, wordings
from hilight_jax.billiards.language.posed import Posed
from hilight_jax.billiards.language.rich_questions import TEMPLATES

NAMER, NUMBERED = Namer(False, ("2", "3")), Namer(True, ("2", "3", "11"))


def test_every_combination_of_choices_is_a_wording():
    assert expand("(which|what) ball is hit (first|)?") == [
        "which ball is hit first?", "which ball is hit?", "what ball is hit first?", "what ball is hit?",
    ]  # fmt: skip
    assert expand("a (b|c (d|e))") == ["a b", "a c d", "a b", "a c e"]
    assert expand("{a} (hits|touches) {ps}") == [
        "{a:full} hits {ps}", "{a:full} touches {ps}", "{a:full} hits {ps}", "{a:full} touches {ps}",
        "{a:one} hits {ps}", "{a:one} touches {ps}",
    ]  # fmt: skip
    assert expand("is it red [end]?")[0] == "is it red at the end?"


def test_slots_are_filled_with_forms_of_names_and_sentences_get_capitals():
    slots = {"a": "ball:3", "b": "ball:cue", "p": "it is so"}
    assert fill("is {a:full} {a:bare} {a:one} {a:short}?", slots, NAMER) == "Is the red ball red ball the red one red?"
    assert (
        fill("{a:one} hits {b:one}. is that right?", slots, NAMER) == "The red one hits the white ball. Is that right?"
    )
    assert fill("{a:one}, {b:short}: {p}", slots, NUMBERED) == "The 3-ball, cue ball: it is so"
    assert fill("{a:one}", {"a": "pocket:top-left"}, NAMER) == "The top left pocket"


@pytest.mark.parametrize("kind", sorted(TEMPLATES))
def test_every_kind_has_many_wordings_of_which_a_third_is_held_out(kind):
    key = rich_questions.HELD_OUT_AS.get(kind, kind)
    trained, held_out = ({w for group in wordings(key, TEMPLATES[kind], held) for w in group} for held in (False, True))
    assert len(trained | held_out) >= 20
    assert 0.2 < len(held_out) / len(trained | held_out) < 0.45


def test_no_follow_up_is_asked_in_a_wording_that_is_held_out_elsewhere(monkeypatch):
    """Variants such as 'side' and 'other_side' share wordings: what is drawn for them is held out for all or none."""
    drawn = {False: set(), True: set()}

    def spy(key, templates, held_out, rng):
        group = {w for each in wordings(key, tuple(templates), held_out) for w in each}
        drawn[held_out].update(group)
        return sorted(group)[0]

    monkeypatch.setattr(rich_questions, "draw", spy)
    monkeypatch.setattr(rich_questions, "right_answers", lambda posed, name: ["Left."])
    monkeypatch.setattr(rich_questions, "sentence_answer", lambda posed, name: None)
    rng = np.random.default_rng(0)
    for variant in ("side", "other_side", "place", "pocket", "count", "after"):
        posed = Posed(FOLLOW_UP, "left", {"b": "ball:2"}, variant)
        for held in (False, True):
            monkeypatch.setattr(rich_questions, "_is_held_out", lambda rng, trains, held=held: held)
            rich_questions._written(posed, NAMER, rng, trains=not held)
    assert drawn[False] and drawn[True] and not drawn[False] & drawn[True]


def test_the_wordings_that_are_held_out_never_change():
    """Pinned: a model that was trained on the trained ones must never have seen the others."""
    known = ["which ball does {k:full} hit first?", "which ball is hit first?", "what ball is struck first?"]
    assert [is_held_out("first_hit", wording) for wording in known] == [False, True, False]
    assert is_held_out("in_view", "is {a:full} in view?") != is_held_out("in_view", "is {a:full} visible?")


def test_all_that_is_known_without_a_clip_can_be_asked_in_training():
    assert all(wordings(talk.NO_CLIP, templates, False) for _, templates in talk.talk())


def test_a_wording_is_drawn_from_the_side_that_is_asked_for():
    rng = np.random.default_rng(0)
    for held_out in (False, True):
        drawn = {draw("hit", TEMPLATES["hit"], held_out, rng) for _ in range(100)}
        assert len(drawn) > 30 and all(is_held_out("hit", wording) == held_out for wording in drawn)


def test_some_questions_are_typed_in_haste():
    rng = np.random.default_rng(1)
    drawn = [typed("Is it red?", rng) for _ in range(400)]
    assert set(drawn) == {"Is it red?", "is it red?", "Is it red", "is it red"}
    assert 0.65 < drawn.count("Is it red?") / 400 < 0.85
