import collections

import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.clip_questions import stored_texts
from hilight_jax.data.conversations.conversation import Turn
from hilight_jax.data.conversations.sources import open_conversations
from tests.data.clips import encode, grey_frames, write_stored

CLIPS = 4
FOLLOWING = {"question": "And then?", "answer": "B.", "type": "follow_up"}


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
    assert [known["id"] for known in conversation.labels] in (["clip0", "clip1"], ["clip0", "clip3"])


def test_apart_every_question_is_a_branch_with_what_refers_to_it(tmp_path):
    def followed(entry):
        first, *others = entry["questions"]
        return entry | {"questions": [first | {"follow_up": FOLLOWING}, *others]}

    source = open_conversations(f"{stored(tmp_path / '1.0.0', followed)},turns=9,apart=1")
    for seed in range(4):
        conversation = source.conversation(2, np.random.default_rng(seed))
        assert len(conversation.turns) == 8 and len(conversation.branches) == 3
        firsts = [conversation.turns[turn].text for turn in conversation.branches]
        assert sorted(firsts) == [f"<video>\nQ{k} of 2?" for k in range(3)]
        turn = conversation.turns.index(Turn("user", "<video>\nQ0 of 2?"))
        assert conversation.turns[turn + 2] == Turn("user", "And then?")
    assert source.conversation(2, None).branches == ()


def test_training_asks_so_many_questions_in_any_order(specification):
    source = open_conversations(f"{specification},turns=2")
    drawn = [source.conversation(2, np.random.default_rng(seed)) for seed in range(60)]
    assert {len(conversation.types) for conversation in drawn} == {2}
    assert len({conversation.types for conversation in drawn}) == 6
    assert all(conversation.turns[0].text.startswith("<video>\nQ") for conversation in drawn)
    assert source.conversation(2, np.random.default_rng(7)) == drawn[7]


def test_balanced_asks_rare_kinds_first_and_in_any_place(tmp_path):
    """t3 is asked of one clip in four: against the three kinds of every clip its weight is 4 ** balanced."""

    def with_rare(entry):
        rare = {"question": "R?", "answer": "R.", "type": "t3"}
        return entry | {"questions": [*entry["questions"], rare] if entry["id"] == "clip2" else entry["questions"]}

    place = stored(tmp_path / "1.0.0", with_rare)
    for balanced, share in ((0, 1 / 4), (1, 4 / 7), (3, 64 / 67)):
        source = open_conversations(f"{place},turns=1,balanced={balanced}")
        kinds = [source.conversation(2, np.random.default_rng(seed)).types for seed in range(400)]
        assert sum(kind == ("t3",) for kind in kinds) / 400 == pytest.approx(share, abs=0.08)
    source = open_conversations(f"{place},turns=2,balanced=3")
    drawn = [source.conversation(2, np.random.default_rng(seed)).types for seed in range(40)]
    rare = [types for types in drawn if "t3" in types]
    assert len(rare) >= 36 and {types.index("t3") for types in rare} == {0, 1}


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
        ("apart=2", "the option apart of 'questions' is '2', but must be a number from 0 to 1"),
        ("two_clip=1", "'two_clip' in .* is no option of questions; .* Did you mean 'two_clips'"),
    ],
)
def test_a_wrong_option_ends_in_a_sentence(specification, option, message):
    with pytest.raises(DataError, match=message):
        open_conversations(f"{specification},{option}")


def rich(entry):
    """The labels of a world with many wordings: a follow-up, notes on every question, talks, words for comparisons."""
    first = entry["questions"][0]
    following = {
        "question": "And then?",
        "answer": "B.",
        "type": "follow_up",
        "wording": "held_out",
        "about": "t0, then",
    }
    first |= {"follow_up": following, "wording": "trained", "about": "t0", "accepted": ["A0.", "The A0."]}
    talks = [{"question": f"Hello {k}", "answer": "Hello.", "type": "no_clip"} for k in range(2)]
    comparison = {"question": "Of the two, in which one {clause}?", "wording": "held_out"}
    return entry | {"talks": talks, "comparison": comparison}


@pytest.fixture(scope="module")
def rich_specification(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("rich") / "1.0.0", rich)


def test_a_follow_up_comes_directly_after_its_question(rich_specification):
    source = open_conversations(f"{rich_specification},turns=9")
    assert source.conversation(0, None).types == ("t0", "follow_up", "t1", "t2")
    for seed in range(20):
        types = source.conversation(0, np.random.default_rng(seed)).types
        assert len(types) == 4 and types[types.index("t0") + 1] == "follow_up"


def test_turns_count_follow_ups_too(rich_specification):
    source = open_conversations(f"{rich_specification},turns=2")
    drawn = {source.conversation(0, np.random.default_rng(seed)).types for seed in range(60)}
    assert ("t0", "follow_up") in drawn and ("t1", "t0") in drawn and {len(types) for types in drawn} == {2}


def test_notes_tell_wording_group_and_other_right_answers(rich_specification):
    first, second, third, _ = open_conversations(rich_specification).conversation(0, None).notes
    assert first == ("trained", "t0", ("A0.", "The A0."))
    assert second == ("held_out", "t0, then", ()) and third == ("", "", ())


def test_conversations_without_a_clip_come_behind_the_others(rich_specification):
    source = open_conversations(f"{rich_specification},no_clip=0.5")
    assert len(source) == CLIPS + 2
    talk = source.conversation(CLIPS + 1, None)
    assert talk.videos == () and talk.types == ("no_clip", "no_clip") and talk.id == "clip2/talk/1"
    assert talk.turns[:2] == (Turn("user", "Hello 0"), Turn("model", "Hello."))
    drawn = {source.conversation(CLIPS, np.random.default_rng(seed)).id for seed in range(40)}
    assert drawn == {f"clip{number}/talk/0" for number in range(CLIPS)}
    assert source.conversation(0, None) == open_conversations(rich_specification).conversation(0, None)


def test_clips_are_compared_in_the_words_that_are_stored_with_the_first(rich_specification):
    conversation = open_conversations(f"{rich_specification},two_clips=1").conversation(0, None)
    assert conversation.turns[-2].text == "<video>\nOf the two, in which one is the red ball in view?"
    assert conversation.notes[-1].wording == "held_out" and "The first." in conversation.notes[-1].accepted


def test_clips_without_talks_allow_no_conversation_without_a_clip(specification):
    with pytest.raises(DataError, match="stored without talks, .* set no_clip=0"):
        open_conversations(f"{specification},no_clip=0.5")
    with pytest.raises(DataError, match="the option no_clip of 'questions' is '-1', but must be a number from 0 to 10"):
        open_conversations(f"{specification},no_clip=-1")


def test_every_stored_text_is_found(rich_specification):
    record = labels(0)
    found = list(stored_texts(rich(record)))
    assert found[:4] == ["Q0 of 0?", "A0.", "And then?", "B."] and found[-2:] == ["Hello 1", "Hello."]
