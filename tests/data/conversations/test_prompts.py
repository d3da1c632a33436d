import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import IGNORE_ID, VIDEO_ID
from hilight_jax.data.conversations import prompts
from hilight_jax.data.conversations.conversation import ConversationError, Turn
from hilight_jax.data.conversations.prompts import fit_context
from tests.data.conversations.tiny_gemma import TOKENIZER

IGNORED = [IGNORE_ID]


def user(text):
    return Turn("user", text)


def model(text):
    return Turn("model", text)


def spelled(ids):
    """The text that ids stand for, clips as ``<video>``."""
    pieces = ["<video>" if i == VIDEO_ID else TOKENIZER.decode([i], keep_control=True) for i in ids.tolist()]
    return "".join(pieces)


def learned(example):
    """The text of the labels, one string per run of them."""
    runs = np.split(example.labels, np.flatnonzero(np.diff(example.labels != IGNORE_ID)) + 1)
    return [spelled(run) for run in runs if run[0] != IGNORE_ID]


def test_the_template_of_two_rounds():
    turns = [user("<video>\nWhat?"), model("A dog."), user("And then?"), model("It runs.")]
    example = prompts.training_example(turns, 1, TOKENIZER)
    assert spelled(example.ids) == (
        "<bos><start_of_turn>user\n<video>\nWhat?<end_of_turn>\n<start_of_turn>model\nA dog.<end_of_turn>\n<eos>"
        "<start_of_turn>user\nAnd then?<end_of_turn>\n<start_of_turn>model\nIt runs.<end_of_turn>\n<eos>"
    )
    assert learned(example) == ["A dog.<end_of_turn>\n<eos>", "It runs.<end_of_turn>\n<eos>"]


def test_a_clip_stands_first_wherever_it_was_marked():
    for question in ("<video>\nWhat?", "What? <video>", "  <video> What?  ", "What?\n<video>\n"):
        example = prompts.training_example([user(question), model("A dog.")], 1, TOKENIZER)
        assert spelled(example.ids).startswith("<bos><start_of_turn>user\n<video>\nWhat?<end_of_turn>")


def test_marks_of_one_turn_collapse_where_there_is_one_clip():
    example = prompts.training_example([user("Is <video> like <video>?"), model("Yes.")], 1, TOKENIZER)
    assert spelled(example.ids).count("<video>") == 1 and "user\n<video>\nIs  like ?<end" in spelled(example.ids)


def test_several_clips_are_numbered_alike_in_training_and_chat():
    turns = [user("Compare <video> with <video>."), model("No."), user("<video> And this?"), model("Yes.")]
    example = prompts.training_example(turns, 3, TOKENIZER)
    chat = prompts.prompt_ids(turns[:3], TOKENIZER)
    np.testing.assert_array_equal(example.ids[: len(chat)], chat)
    assert spelled(chat) == (
        "<bos><start_of_turn>user\nImage 1:<video>\nImage 2:<video>\nCompare  with .<end_of_turn>\n"
        "<start_of_turn>model\nNo.<end_of_turn>\n<eos>"
        "<start_of_turn>user\nImage 3:<video>\nAnd this?<end_of_turn>\n<start_of_turn>model\n"
    )
    assert learned(example) == ["No.<end_of_turn>\n<eos>", "Yes.<end_of_turn>\n<eos>"]


def test_one_clip_has_no_number_in_chat():
    ids = prompts.prompt_ids([user("What? <video>")], TOKENIZER)
    assert spelled(ids) == "<bos><start_of_turn>user\n<video>\nWhat?<end_of_turn>\n<start_of_turn>model\n"


@pytest.mark.parametrize(
    "turns",
    [
        [user("What?"), model("A dog."), user("And then?")],
        [user("What?"), model("")],
        [user("What?"), model(""), user("And?"), model("Yes.")],
        [user("What? <eos> no"), model("A dog.")],
        [user("What?"), model("A <eos> dog.")],
        [user("What?"), model("<start_of_turn>model\nA dog.")],
        [user("What?"), model("A <pad> dog.")],
        [],
    ],
)
def test_where_the_original_loses_count_nothing_is_learned(turns):
    assert set(prompts.training_example(turns, 0, TOKENIZER).labels.tolist()) == {IGNORE_ID}


def test_an_answer_that_begins_with_a_newline_is_never_learned_right():
    turns = [user("What?"), model("\nA dog.")]
    assert learned(prompts.training_example(turns, 0, TOKENIZER)) != ["\nA dog.<end_of_turn>\n<eos>"]


def test_from_512_tokens_on_lengths_are_not_checked_and_nothing_is_cut():
    short, long = ([user("What? " * n), model("A dog."), user("And?")] for n in (10, 200))
    assert learned(prompts.training_example(short, 0, TOKENIZER)) == []
    example = prompts.training_example(long, 0, TOKENIZER)
    assert len(example.ids) > 512 and learned(example) == ["A dog.<end_of_turn>\n<eos>"]


def test_a_first_turn_of_the_model_is_dropped_and_others_must_alternate():
    dropped = prompts.training_example([model("Hello."), user("What?"), model("A dog.")], 0, TOKENIZER)
    assert spelled(dropped.ids).startswith("<bos><start_of_turn>user\nWhat?")
    with pytest.raises(DataError, match="turn 2 must be the model's, not 'user'"):
        prompts.render([user("What?"), user("Where?")])


def test_every_clip_gets_its_rows():
    ids, labels = np.array([2, VIDEO_ID, 7, VIDEO_ID], np.int32), np.array([-100, -100, 7, VIDEO_ID], np.int32)
    expanded, beside = prompts.expand(ids, labels, 3)
    assert expanded.tolist() == [2, *[VIDEO_ID] * 3, 7, *[VIDEO_ID] * 3]
    assert beside.tolist() == [*IGNORED * 4, 7, *IGNORED * 3]
    assert expanded.dtype == beside.dtype == np.int32
    assert prompts.expand(ids, None, 3)[1] is None


# bos, a clip of two rows, a question, an answer of two; a question, an answer of two.
IDS = np.array([2, VIDEO_ID, VIDEO_ID, 10, 11, 12, 13, 14, 15])
LABELS = np.array([IGNORE_ID] * 4 + [11, 12, IGNORE_ID, 14, 15])


def test_what_fits_is_left_as_it_is():
    fitted = fit_context(IDS, LABELS, 9)
    assert fitted.ids is IDS and fitted.labels is LABELS and fitted.cut == ""


@pytest.mark.parametrize(
    ("max_length", "cut"),
    [
        (8, "its 9 tokens do not fit into 8: the last 1 are cut, and with them all or part of answer 2."),
        (6, "its 9 tokens do not fit into 6: the last 3 are cut, and with them all or part of answer 2."),
        (5, "its 9 tokens do not fit into 5: the last 4 are cut, and with them all or part of answers 1 to 2."),
    ],
)
def test_the_first_tokens_are_kept_and_the_loss_is_told(max_length, cut):
    fitted = fit_context(IDS, LABELS, max_length)
    assert fitted.ids.tolist() == IDS[:max_length].tolist() and fitted.labels.tolist() == LABELS[:max_length].tolist()
    assert fitted.cut == cut


@pytest.mark.parametrize("max_length", [1, 2])
def test_a_clip_is_kept_whole_or_the_conversation_refused(max_length):
    with pytest.raises(ConversationError, match="through or before a clip.*which is kept whole"):
        fit_context(IDS, LABELS, max_length)


@pytest.mark.parametrize("max_length", [3, 4])
def test_a_conversation_whose_answers_would_all_be_cut_is_refused(max_length):
    with pytest.raises(ConversationError, match="all its answers lie in what would be cut"):
        fit_context(IDS, LABELS, max_length)
