import numpy as np
import pytest

from hilight_jax.core.shapes import IGNORE_ID
from hilight_jax.data.conversations.checks import check_conversation, check_prompt
from hilight_jax.data.conversations.conversation import Conversation, ConversationError, Turn
from hilight_jax.data.conversations.prompts import training_example
from tests.data.conversations.tiny_gemma import TOKENIZER

VIDEO = b"a clip"


def user(text):
    return Turn("user", text)


def model(text):
    return Turn("model", text)


GOOD = [
    ((), [user("What?"), model("A dog.")]),
    ((VIDEO,), [user("<video>\nWhat?"), model("A dog."), user("\n\n And then? \n"), model("It runs.\n\nOff.\n")]),
    ((VIDEO,), [model("Welcome."), user("What? <video>"), model(" 3 balls")]),
    ((VIDEO,) * 3, [user("<video> or <video>?"), model("The first."), user("<video> And this?"), model("No.")]),
    ((), [user("What? " * 200), model("A dog."), user("And?"), model("É 日本 \t<b>bold</b>")]),
]
BAD = {
    "it is empty": ((), []),
    "it is empty: it has no question": ((), [model("Welcome.")]),
    "it ends with a question": ((), [user("What?")]),
    "it is one-sided: all its 2 turns are the user's": ((), [user("What?"), user("And?")]),
    "turn 3 is the model's where the user's is due": ((), [user("What?"), model("A."), model("B.")]),
    "turn 1 has the role 'system'; roles: user, model": ((), [Turn("system", "Be kind.")]),
    "the text of turn 2 is a NoneType": ((), [user("What?"), model(None)]),
    "answer 2 is empty": ((), [user("What?"), model("A."), user("And?"), model("  \n")]),
    "question 1 is empty": ((VIDEO,), [user(" <video>\n"), model("A dog.")]),
    "turn 2 is an answer with the mark <video>": ((VIDEO,), [user("What?"), model("This: <video>")]),
    "it has 2 <video> marks for 1 video;": ((VIDEO,), [user("<video> or <video>?"), model("Both.")]),
    "it has 1 <video> mark for 2 videos;": ((VIDEO,) * 2, [user("<video> or?"), model("Both.")]),
    "it has 0 <video> marks for 1 video;": ((VIDEO,), [user("What?"), model("A dog.")]),
    "it has 1 <video> mark for 0 videos;": ((), [user("What? <video>"), model("A dog.")]),
    "turn 1 holds '<eos>'": ((), [user("What is <eos>?"), model("A token.")]),
    "turn 2 holds '<start_of_turn>'": ((), [user("What?"), model("<start_of_turn>model\nA dog.")]),
    "turn 2 holds '<pad>'": ((), [user("What?"), model("A <pad>")]),
    "answer 1 begins with a newline": ((), [user("What?"), model("\nA dog.")]),
    "turn 1 holds half a character": ((), [user("What \ud83d?"), model("A dog.")]),
}


def check(videos, turns, tokenizer=TOKENIZER, max_length=4000, types=()):
    check_conversation(Conversation("c", tuple(videos), tuple(turns), types), tokenizer, 4, max_length)


@pytest.mark.parametrize(("videos", "turns"), GOOD)
def test_what_passes_is_learned_to_the_letter(videos, turns):
    check(videos, turns)
    example = training_example(turns, len(videos), TOKENIZER)
    answers = [turn.text for turn in turns[turns[0].role == "model" :] if turn.role == "model"]
    expected = [TOKENIZER.encode(f"{text}<end_of_turn>\n<eos>") for text in answers]
    assert example.labels[example.labels != IGNORE_ID].tolist() == np.concatenate(expected).tolist()


@pytest.mark.parametrize("sentence", BAD)
@pytest.mark.parametrize("tokenizer", [TOKENIZER, None], ids=["tokenizer", "no tokenizer"])
def test_what_the_original_mishandles_is_refused_in_a_sentence(sentence, tokenizer):
    with pytest.raises(ConversationError) as failure:
        check(*BAD[sentence], tokenizer)
    assert sentence in str(failure.value) and str(failure.value).endswith(".") and "\n" not in str(failure.value)


def test_any_beginning_that_merges_with_the_template_is_refused():
    class Merging:
        """A tokenizer with a piece for a newline and a tab."""

        def encode(self, text):
            return list(text.replace("\n\t", "#"))

    with pytest.raises(ConversationError, match=r"answer 1 begins with '\\tA dog.', which the tokenizer merges"):
        check((), [user("What?"), model("\tA dog.")], Merging())


def test_a_type_belongs_to_every_answer_or_none():
    turns = [user("What?"), model("A dog."), user("And?"), model("A cat.")]
    check((), turns, types=("what", ""))
    with pytest.raises(ConversationError, match="1 question types for 2 answers"):
        check((), turns, types=("what",))


def test_a_conversation_may_be_cut_but_not_its_clips():
    turns = [user("<video>What?"), model("A dog. " * 20), user("<video>And?"), model("A cat.")]
    check((VIDEO,), [turns[0], turns[1]], max_length=60)
    with pytest.raises(ConversationError, match="a clip .* is kept whole"):
        check((VIDEO,) * 2, turns, max_length=60)


def test_a_prompt_must_end_with_a_question_and_leave_room_for_the_answer():
    turns = [user("<video>What?"), model(""), user("And then?")]
    length = 1 + 4 + len(TOKENIZER.encode("<start_of_turn>user\n\nWhat?<end_of_turn>\n<start_of_turn>model\n"))
    check_prompt(turns, 1, TOKENIZER, 4, 200)
    check_prompt(turns[:1], 1, TOKENIZER, 4, length + 11, max_new_tokens=10)
    with pytest.raises(ConversationError, match=r"tokens \(4 of them video\) and 10 of the answer do not fit .* 29"):
        check_prompt(turns[:1], 1, TOKENIZER, 4, 29, max_new_tokens=10)
    with pytest.raises(ConversationError, match="its last turn is the model's"):
        check_prompt(turns[:2], 1, TOKENIZER, 4, 200)
    with pytest.raises(ConversationError, match="1 <video> mark for 2 videos"):
        check_prompt(turns, 2, TOKENIZER, 4, 200)
    with pytest.raises(ConversationError, match="it is empty"):
        check_prompt([], 0, TOKENIZER, 4, 200)
    with pytest.raises(ConversationError, match="an answer with the mark <video>"):
        check_prompt([turns[0], model("<video>"), turns[2]], 1, TOKENIZER, 4, 200)
