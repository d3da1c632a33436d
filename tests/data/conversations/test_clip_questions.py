import collections

import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.conversation import Turn
from hilight_jax.data.conversations.sources import open_conversations
from tests.data.clips import encode, grey_frames, write_stored

CLIPS = 4


def labels(number):
    questions = [{"question": f"Q{k} of {number}?", "answer": f"A{k}.", "type": f"t{k}"} for k in range(3)]
    clauses = {"is the red ball in view": number % 2 == 0, "is the blue ball in view": True}
    return {"id": f"clip{number}", "captions": [], "questions": questions, "clauses": clauses}


def stored(directory, change=lambda entry: entry):
    directory.mkdir(parents=True)
    write_stored(directory, [(encode(grey_frames(2 + i)), change(labels(i))) for i in range(CLIPS)])
    return f"questions:{directory}/train"


@pytest.fixture(scope="module")
def specification(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("questions") / "1.0.0")


def test_the_evaluated_form_asks_everything_about_a_clip(specification):
    conversation = open_conversations(specification).conversation(1, None)
    assert conversation.id == "clip1" and conversation.videos == (encode(grey_frames(3)),)
    assert conversation.turns == (
        Turn("user", "<video>\nQ0 of 1?"),
        Turn("model", "A0."),
        Turn("user", "Q1 of 1?"),
        Turn("model", "A1."),
        Turn("user", "Q2 of 1?"),
        Turn("model", "A2."),
    )
    assert conversation.types == ("t0", "t1", "t2")


def test_the_evaluated_form_may_end_with_a_second_clip_and_is_always_the_same(specification):
    source = open_conversations(f"{specification},two_clips=0.1")
    conversation = source.conversation(0, None)
    assert conversation == source.conversation(0, None)
    assert conversation.turns[-2:] == (
        Turn("user", "<video>\nIn which of the two clips is the red ball in view?"),
        Turn("model", "In the first."),
    )
    assert source.conversation(1, None).turns[-1].text == "In the second."
    assert conversation.videos[1] in {encode(grey_frames(3)), encode(grey_frames(5))}
    assert conversation.types == ("t0", "t1", "t2", "two_clips")


def test_training_asks_so_many_questions_in_any_order(specification):
    source = open_conversations(f"{specification},turns=2")
    drawn = [source.conversation(2, np.random.default_rng(seed)) for seed in range(60)]
    assert {len(conversation.types) for conversation in drawn} == {2}
    assert len({conversation.types for conversation in drawn}) == 6
    assert all(conversation.turns[0].text.startswith("<video>\nQ") for conversation in drawn)
    assert source.conversation(2, np.random.default_rng(7)) == drawn[7]


def test_the_share_of_two_clips_shows_both_at_once_or_the_second_later(specification):
    source = open_conversations(f"{specification},two_clips=0.5")
    drawn = [source.conversation(seed % CLIPS, np.random.default_rng(seed)) for seed in range(400)]
    pairs = [conversation for conversation in drawn if len(conversation.videos) == 2]
    assert 160 <= len(pairs) <= 240
    at_once = [conversation for conversation in pairs if conversation.turns[0].text.startswith("<video>\n<video>\nIn ")]
    assert 60 <= len(at_once) <= 140 and all(conversation.types == ("two_clips",) for conversation in at_once)
    assert all(sum(turn.text.count("<video>") for turn in conversation.turns) == 2 for conversation in pairs)
    answers = collections.Counter(conversation.turns[-1].text for conversation in pairs)
    assert min(answers.values()) > 0.4 * len(pairs) and set(answers) == {"In the first.", "In the second."}


def test_clips_without_clauses_cannot_be_compared(tmp_path):
    def without(entry):
        del entry["clauses"]
        return entry

    place = stored(tmp_path / "1.0.0", without)
    with pytest.raises(DataError, match="stored without clauses, .* generate it anew, or set two_clips=0"):
        open_conversations(place + ",two_clips=1")
    assert len(open_conversations(place).conversation(0, np.random.default_rng(0)).videos) == 1


def test_clips_that_are_alike_in_every_clause_are_never_compared(tmp_path):
    source = open_conversations(stored(tmp_path / "1.0.0", lambda entry: entry | {"clauses": {"x": True}}))
    assert len(source.conversation(0, np.random.default_rng(0)).videos) == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("turns=0", "the option turns of 'questions' is '0', but must be a whole number from 1"),
        ("turns=two", "is 'two'"),
        ("two_clips=2", "the option two_clips of 'questions' is '2', but must be a number from 0 to 1"),
        ("two_clip=1", "'two_clip' in .* is no option of questions; .* Did you mean 'two_clips'"),
    ],
)
def test_a_wrong_option_ends_in_a_sentence(specification, option, message):
    with pytest.raises(DataError, match=message):
        open_conversations(f"{specification},{option}")
