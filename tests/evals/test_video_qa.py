"""Asking about coloured screens, whose answers are known."""

import dataclasses
import json
import weakref
from types import SimpleNamespace

import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.conversation import Conversation, Note, Turn
from hilight_jax.data.frame_sampling import KeyFrameConfig
from hilight_jax.evals.known_answers import KnownAnswers, Question, count_answers, questions_of
from hilight_jax.evals.result_tables import answer_tables
from hilight_jax.evals.video_qa import ask_about_one_clip, evaluate_video_qa
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.sampling import SamplingConfig
from tests.data.conversations.tiny_gemma import TOKENIZER
from tests.evals.coloured_screens import DATA, ColouredScreens, ColourSpeaker
from tests.models import tiny_hilight

SCREENS = ("red", "green", "blue", "red")
TRAIN = ColouredScreens(("red", "red", "green"), "questions:screens/train")


def evaluate(speaker=None, screens=SCREENS, broken=(), known=TRAIN, max_new_tokens=64, **options):
    known = count_answers(known) if known else None
    speaker, sampling = speaker or ColourSpeaker(), SamplingConfig(max_new_tokens=max_new_tokens)
    return evaluate_video_qa(speaker, sampling, ColouredScreens(screens, broken=broken), DATA, known, **options)


@pytest.fixture(scope="module")
def result():
    return evaluate()


def test_the_model_that_sees_gets_full_marks(result):
    assert result["overall"]["normalised"] == 1.0 and result["overall"]["exact"] == 0.0
    assert [result[name] for name in ("conversations", "clips", "questions")] == [4, 3, 12]
    assert list(result["types"]) == ["colour", "is_red", "count"]


def test_the_controls_are_those_of_the_world(result):
    colour, is_red, count = result["types"].values()
    # "Red." and "Yes." are the most frequent training answers, and right of two screens in four.
    assert colour["most_frequent"] == is_red["most_frequent"] == 0.5 and colour["frequent_answer"] == "Red."
    assert result["frequent_from"] == TRAIN.name
    # Shown instead of red, green, blue, red: blue, red, green, blue. Never the same colour, and of the second question
    # only the green one instead of the blue is right.
    assert colour["other_clip"] == 0.0 and is_red["other_clip"] == 0.25
    assert count["other_clip"] == count["question_only"] == 1.0


def test_a_question_that_gives_its_answer_away_does_not_need_the_video(result):
    needs = result["needs_video"]
    assert needs["types"] == ["colour", "is_red"] and needs["given_away_by_question"] == ["count"]
    assert needs["normalised"] == 1.0 and needs["other_clip"] == 0.125 and needs["margins"]["other_clip"] == 0.875
    assert needs["margins"]["most_frequent"] == 0.5 and needs["interval"] == [1.0, 1.0]


def test_what_training_never_answers_is_unheard_of(result):
    assert result["types"]["colour"]["unheard"] == 0.25  # blue
    assert result["types"]["count"]["unheard"] == result["overall"]["refused"] == 0.0


def test_yes_and_no_are_balanced_against_the_truth(result):
    balance = result["yes_no"]
    assert balance["questions"] == 4 and balance["truth_yes"] == balance["answer_yes"] == balance["answer_no"] == 0.5
    assert balance["right_yes"] == balance["right_no"] == 1.0 and balance["answer_neither"] == 0.0


def test_the_confidence_is_fitted_on_two_clips_and_measured_on_the_third(result):
    calibration = result["calibration"]
    # Of blue, green and red, every other one is for the fit; red is asked about twice.
    assert calibration["fitted_on"] == {"questions": 9, "clips": 2}
    assert calibration["measured_on"] == {"questions": 3, "clips": 1}
    # All answers are right, so the lowest temperature is the best, at which the speaker is nearly certain.
    assert calibration["temperature"] == 0.125
    assert calibration["types"]["colour"]["error_before"] == pytest.approx(1 / 3)
    assert calibration["overall"]["error_after"] == pytest.approx(1 / (1 + 2**8))
    assert evaluate(screens=("red", "red"))["calibration"] is None


def test_the_figures_are_the_same_every_time_and_for_any_batch_size(result):
    assert evaluate() == result
    speaker = ColourSpeaker()
    assert evaluate(speaker, batch_size=5) == result
    assert set(speaker.sizes) == {5}  # the last batch is filled up


def test_every_answer_is_written_down(result):
    assert json.loads(json.dumps(result)) == result
    first = result["answers"][0]
    assert first["id"] == "screens/0#0" and first["type"] == "colour" and first["index"] == 0
    assert first["question"] == "What colour is the screen?" and first["truth"] == "Red."
    assert first["answer"] == "the red" and first["right"] is True
    assert first["controls"] == {"most_frequent": "Red.", "question_only": "Red.", "other_clip": "the blue"}


def test_each_question_is_asked_by_itself_unless_history_is_wanted():
    speaker = ColourSpeaker()
    alone = evaluate(speaker, controls=False)
    assert alone["overall"]["other_clip"] is None and alone["needs_video"]["margins"]["other_clip"] is None
    assert len(speaker.prompts) == 12 and all(prompt.count("<start_of_turn>user") == 1 for prompt in speaker.prompts)
    speaker = ColourSpeaker()
    told = evaluate(speaker, controls=False, history=True)
    assert [prompt.count("<start_of_turn>user") for prompt in speaker.prompts[:3]] == [1, 2, 3]
    assert "<start_of_turn>model\nRed.<end_of_turn>" in speaker.prompts[1] and told["history"]


def test_a_conversation_that_cannot_be_used_is_left_out_and_named():
    result = evaluate(broken=[1])
    assert result["skipped"] == ["screens/1"] and result["conversations"] == 3 and result["questions"] == 9
    with pytest.raises(DataError, match="no question that can be asked"):
        evaluate(broken=range(4))


def test_only_the_first_conversations_on_request():
    result = evaluate(num_conversations=2)
    assert result["questions"] == 6 and [row["index"] for row in result["answers"]] == [0] * 3 + [1] * 3
    assert result["types"]["colour"]["other_clip"] == 0.0


def test_without_another_clip_there_is_no_such_control():
    assert evaluate(screens=("red", "red"))["overall"]["other_clip"] is None


def test_without_training_answers_the_evaluated_ones_are_counted():
    result = evaluate(known=None)
    assert result["types"]["colour"]["most_frequent"] == 0.5 and "themselves" in result["frequent_from"]
    assert result["overall"]["question_only"] is result["overall"]["unheard"] is None
    assert result["needs_video"]["types"] == ["colour", "is_red", "count"]


def test_a_few_questions_about_one_clip():
    source = ColouredScreens(SCREENS, broken=[0])
    asked = ask_about_one_clip(ColourSpeaker(), SamplingConfig(), source, DATA, 2)
    assert [(item.question, item.answer, item.truth) for item in asked] == [
        ("What colour is the screen?", "the green", "Green."),
        ("Is the screen red?", "no", "No."),
    ]
    assert len(ask_about_one_clip(ColourSpeaker(), SamplingConfig(), source, DATA, 9)) == 3
    with pytest.raises(DataError, match="no question about one clip"):
        ask_about_one_clip(ColourSpeaker(), SamplingConfig(), ColouredScreens(("red",), broken=[0]), DATA, 2)


def test_the_other_clip_of_a_comparison_is_the_first_of_the_conversation_before():
    class Comparisons(ColouredScreens):
        """Every screen is compared with a green one at the end."""

        def conversation(self, index, rng):
            one, green = super().conversation(index, rng), ColouredScreens(["green"]).conversation(0, rng)
            turns = (*one.turns, Turn("user", "<video>\nWhat is the second one?"), Turn("model", "Green."))
            return one._replace(videos=one.videos + green.videos, turns=turns, types=(*one.types, "second"))

    speaker, known = ColourSpeaker(), count_answers(TRAIN)
    source = Comparisons(("red", "blue", "red", "blue"))
    result = evaluate_video_qa(speaker, SamplingConfig(), source, DATA, known)
    first = [row for row in result["answers"] if row["type"] == "colour"]
    assert [row["controls"]["other_clip"] for row in first] == ["the blue", "the red", "the blue", "the red"]
    assert result["clips"] == 3


def test_all_questions_about_a_clip_are_on_one_side_of_the_calibration():
    class Compared(ColouredScreens):
        """Every screen is compared with a green one, and before each a talk has no clip."""

        def __len__(self):
            return 2 * len(self._colours)

        def conversation(self, index, rng):
            if index % 2 == 0:
                turns = (Turn("user", "How many are one and none?"), Turn("model", "One."))
                return Conversation(f"talks/{index}", (), turns, ("talk",))
            one, green = super().conversation(index // 2, rng), ColouredScreens(["green"]).conversation(0, rng)
            turns = (*one.turns, Turn("user", "<video>\nWhat is the second one?"), Turn("model", "Green."))
            return one._replace(videos=one.videos + green.videos, turns=turns, types=(*one.types, "second"))

    source = Compared(("red", "blue"))
    result = evaluate_video_qa(ColourSpeaker(), SamplingConfig(), source, DATA, controls=False)
    # Of 0, 2, blue and red every other one is for the fit.
    half = {"questions": 5, "clips": 2}
    assert result["calibration"]["fitted_on"] == result["calibration"]["measured_on"] == half
    assert list(result["calibration"]["types"]) == ["colour", "is_red", "count", "second", "talk"]


def test_a_question_without_room_for_its_longest_answer_is_left_out_and_named():
    everything = evaluate(controls=False, max_new_tokens=400)
    assert everything["questions"] == 12
    with pytest.raises(DataError, match="no question that can be asked"):
        evaluate(controls=False, max_new_tokens=500)


def test_a_question_that_is_too_long_is_left_out_and_named():
    class Talkative(ColouredScreens):
        """The second question of screen 1 is longer than the context."""

        def conversation(self, index, rng):
            conversation = super().conversation(index, rng)
            turns = list(conversation.turns)
            if index == 1:
                turns[2] = Turn("user", "red " * 200)
            return conversation._replace(turns=tuple(turns))

    config = tiny_hilight.config(gemma=dataclasses.replace(tiny_hilight.GEMMA, vocab_size=TOKENIZER.vocab_size))
    data = dataclasses.replace(
        DATA, num_frames=3, image_size=8, key_frames=KeyFrameConfig("explicit", 2, (0, 2)), num_video_tokens=4,
        max_length=120, buckets=(120,),
    )  # fmt: skip
    generator = Generator(config, tiny_hilight.params(config), TOKENIZER, data.max_length)
    sampling = SamplingConfig(max_new_tokens=2)
    result = evaluate_video_qa(generator, sampling, Talkative(("green", "red")), data, batch_size=4)
    (skipped,) = result["skipped"]
    assert skipped.startswith("screens/1#2: its ") and "do not fit into the context of 120" in skipped
    assert (result["conversations"], result["questions"]) == (2, 5)
    table = answer_tables({**result, "name": "validation", "source": "questions:screens/validation"})
    assert "left out: 1 conversations or questions (screens/1#2: its " in table
    asked = ask_about_one_clip(generator, sampling, Talkative(("green", "red"), broken=[0]), data, 3)
    assert [item.id for item in asked] == ["screens/1#0", "screens/1#4"]


def test_of_all_clips_only_a_few_stay_in_memory():
    alive, most = weakref.WeakSet(), []

    class Features(SimpleNamespace):
        __hash__ = object.__hash__

    class Forgetful(ColourSpeaker):
        def encode_clip(self, frames, key_frames, closer=None):
            clip = Features(**vars(super().encode_clip(frames, key_frames)))
            clip.digest += str(len(most))
            alive.add(clip)
            most.append(len(alive))
            return clip

    result = evaluate(Forgetful(), screens=("red", "green", "blue") * 10, batch_size=4)
    # The first one's, which waits for the last; the four that may become others; those of a batch and of one row.
    assert result["clips"] == len(most) == 30 and max(most) <= 1 + 4 + 4 + 1


def test_questions_are_the_turns_that_are_answered():
    turns = [Turn("model", "Hello."), Turn("user", "<video>\nWho?"), Turn("model", "I."), Turn("user", "Why?")]
    ((turn, question),) = questions_of(Conversation("c", (b"",), tuple(turns), ("greeting", "who")))
    assert turn == 1 and question[:3] == ("Who?", "I.", "who")
    assert questions_of(Conversation("c", (), tuple(turns[1:3])))[0][1].type == ""


class Followed(ColouredScreens):
    """After the colour, "Is it bright?" is asked, then what comes next; words of the second screen are held out."""

    def conversation(self, index, rng):
        one = super().conversation(index, rng)
        colour = self._colours[index]
        turns = [
            Turn("user", "<video>\nWhat colour is the screen?"), Turn("model", f"{colour.capitalize()}."),
            Turn("user", "Is it red?"), Turn("model", "Yes." if colour == "red" else "No."),
            Turn("user", "And is it really?"), Turn("model", "Yes." if colour == "red" else "No."),
            Turn("user", "What will be next?"), Turn("model", f"It will be the {colour} one."),
        ]  # fmt: skip
        wording = "held_out" if index == 1 else "trained"
        accepted = (("The {}.",), ("Yes.", "No.")[colour != "red" :][:1], (), ("The {}.",))
        notes = tuple(Note(wording, "about", tuple(a.format(colour) for a in answers)) for answers in accepted)
        types = ("colour", "follow_up", "follow_up", "next")
        return one._replace(turns=tuple(turns), types=types, notes=notes)


def test_a_follow_up_is_asked_after_the_question_that_it_follows():
    speaker = ColourSpeaker()
    evaluate_video_qa(speaker, SamplingConfig(), Followed(("green",)), DATA, controls=False)
    asked = [prompt.split("<start_of_turn>user\n")[1:] for prompt in speaker.prompts]
    assert [len(turns) for turns in asked] == [1, 2, 3, 1]
    assert "Green." in asked[1][0] and asked[2][2].startswith("And is it really?") and "No." in asked[2][1]
    assert asked[3][0].endswith("What will be next?<end_of_turn>\n<start_of_turn>model\n")


def test_the_future_is_asked_again_with_the_first_frame_only():
    speaker = ColourSpeaker()
    result = evaluate_video_qa(speaker, SamplingConfig(), Followed(("green", "red")), DATA)
    assert result["types"]["next"]["first_frame"] == 1.0 and result["types"]["colour"]["first_frame"] is None
    assert result["answers"][3]["controls"]["first_frame"] == "the green"
    table = answer_tables({**result, "name": "validation", "source": "questions:screens/validation"})
    assert "right, without motion" in table and "right, by wording" in table


def test_other_right_answers_are_accepted_and_wordings_are_told_apart():
    result = evaluate_video_qa(ColourSpeaker(), SamplingConfig(), Followed(("green", "red")), DATA, controls=False)
    assert result["types"]["next"]["normalised"] == 1.0, "'the green' for 'It will be the green one.'"
    wordings = result["types"]["colour"]["wordings"]
    assert (wordings["trained_questions"], wordings["held_out_questions"]) == (1, 1)


def test_so_many_questions_of_each_kind_are_asked_and_no_other_clip_is_encoded():
    encoded = []

    class Counting(ColourSpeaker):
        def encode_clip(self, frames, key_frames, closer=None):
            encoded.append(len(frames))
            return super().encode_clip(frames, key_frames)

    result = evaluate(Counting(), screens=SCREENS * 3, questions_per_kind=2, controls=False)
    assert [group["questions"] for group in result["types"].values()] == [2, 2, 2]
    assert result["conversations"] == len(encoded) == 2


def test_questions_about_the_same_are_one_to_the_control_in_any_words():
    def question(words, truth, accepted=()):
        return Question(words, truth, "hit", Note("trained", "hit ball:3", accepted))

    known = KnownAnswers(
        [
            question("Does it hit red?", "No."),
            question("Red hit?", "Yes, it hits red.", ("Yes.",)),
            question("Red?", "Yes."),
        ],
        "train",
    )
    assert known.controls(question("Is red hit by it?", "No."))["question_only"] == "Yes."
    assert known.heard("Yes, it hits red.", "hit") and not known.heard("Perhaps.", "hit")
