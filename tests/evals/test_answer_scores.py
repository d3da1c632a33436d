"""Rules of matching answers, case by case."""

import pytest

from hilight_jax.evals.answer_matching import matches, matches_exactly, normalise, refuses, yes_or_no


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The red 3-ball.", "red 3 ball"),
        ("  the  RED\n3 ball ", "red 3 ball"),
        ("None.", "0"),
        ("Twelve balls", "12 balls"),
        ("it's an eight", "its 8"),
        ("1.5 m, or 1,000", "1.5 m or 1,000"),
        (".5 and 5.", "5 and 5"),
        ("ﬁve", "5"),
        ("snake_case", "snake case"),
        ("...", ""),
        ("红球", "红球"),
    ],
)
def test_answers_are_normalised_by_the_stated_rules(text, normalised):
    assert normalise(text) == normalised
    assert normalise(normalised) == normalised


def test_exact_is_letter_by_letter():
    assert matches_exactly("Yes.\n", "Yes.") and not matches_exactly("yes", "Yes.")


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("red 3 ball", "The red 3-ball.", True),
        ("2", "two", True),
        ("Yes, it does.", "yes", True),
        ("no, the yes-man fell", "Yes.", False),
        ("yesterday", "yes", False),
        ("The left cushion, I think.", "The left cushion.", False),
        ("Yes, it does.", "yes sir", False),
        ("", "The.", False),
        ("The.", "The.", True),
    ],
)
def test_a_normalised_match_needs_the_whole_answer_but_of_yes_and_no_the_first_word(answer, truth, right):
    assert matches(answer, truth) is right


def test_yes_and_no_are_first_words():
    assert [yes_or_no(text) for text in ("Yes.", "NO!", "nobody", "it is: yes", "")] == ["yes", "no", None, None, None]


@pytest.mark.parametrize("answer", ["No idea.", "No, I cannot tell.", "yes and no", "No. Or yes?"])
def test_who_refuses_or_says_both_says_neither_yes_nor_no(answer):
    assert yes_or_no(answer) is None
    assert not matches(answer, "No.") and not matches(answer, "Yes.")


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("", True),
        (" .\n", True),
        ("I can't tell from this video.", True),
        ("Sorry, I do not know.", True),
        ("As an AI, I have no eyes.", True),
        ("It cannot be determined.", True),
        ("None.", False),
        ("The ball cannot reach the pocket.", False),
        ("No.", False),
    ],
)
def test_refusals_are_empty_or_stock_phrases(answer, refused):
    assert refuses(answer) is refused
