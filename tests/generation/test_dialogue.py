"""The prompt of a conversation as it grows; calls that fail leave it unchanged."""

from types import SimpleNamespace

import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.conversation import Turn
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.frame_sampling import KeyFrameConfig
from hilight_jax.generation.dialogue import Dialogue
from hilight_jax.generation.generator import Answer
from hilight_jax.generation.sampling import SamplingConfig
from tests.serving.workdirs import TOKENIZER, write_video

DATA = ConversationDataConfig(
    num_frames=3, image_size=8, key_frames=KeyFrameConfig("explicit", 2, (0, 2)), num_video_tokens=4, max_length=120
)


class Parrot:
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self, *answers, word_tracks=None):
        self.config = SimpleNamespace(word_tracks=word_tracks)
        self.tokenizer, self.answers, self.prompts = GemmaTokenizer(TOKENIZER), list(answers), []

    def encode_clip(self, frames, key_frames, closer=None):
        assert frames.shape == (3, 8, 8, 3) and key_frames.tolist() == [0, 2]
        return SimpleNamespace(digest=int(frames.sum()))

    def generate(self, prompts, sampling, on_text=None, reuse_prefix=False):
        self.prompts += prompts
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        for word in answer.split():
            if on_text:
                on_text(0, word)
        ids = np.array(self.tokenizer.encode(answer), np.int32)
        return [Answer(ids, answer, "stop", np.log(np.full(len(ids) + 1, 0.5, np.float32)))]

    def read(self):
        """The last prompt as a text, one V for each row of a clip."""
        ids = self.prompts[-1].ids.tolist()
        return "".join("V" if i == VIDEO_ID else self.tokenizer.decode([i], keep_control=True) for i in ids)


def dialogue(*answers, **options):
    parrot = Parrot(*answers, **options)
    return Dialogue(parrot, DATA, SamplingConfig(max_new_tokens=8)), parrot


@pytest.fixture
def videos(tmp_path):
    return [write_video(tmp_path / f"{seed}.mp4", seed) for seed in range(2)]


def test_a_clip_is_shown_in_front_of_the_next_question(videos):
    talk, parrot = dialogue("No.")
    clip = talk.show(videos[0])
    assert (clip.name, clip.num_total, clip.numbers.tolist()) == ("0.mp4", 6, [0, 2, 5])
    pieces = []
    reply = talk.ask("Is it red?", pieces.append)
    assert parrot.read() == "<bos><start_of_turn>user\nVVVV\nIs it red?<end_of_turn>\n<start_of_turn>model\n"
    assert (reply.question, reply.text, pieces) == ("Is it red?", "No.", ["No."])
    assert talk.turns == [Turn("user", "<video>\nIs it red?"), Turn("model", "No.")]


def test_a_clip_can_come_in_mid_conversation(videos):
    talk, parrot = dialogue("No.", "In the second.")
    talk.show(videos[0])
    talk.ask("Is it red?")
    talk.show(videos[1])
    reply = talk.ask("In which?")
    assert parrot.read() == (
        "<bos><start_of_turn>user\nImage 1:VVVV\nIs it red?<end_of_turn>\n<start_of_turn>model\nNo.<end_of_turn>\n<eos>"
        "<start_of_turn>user\nImage 2:VVVV\nIn which?<end_of_turn>\n<start_of_turn>model\n"
    )
    assert [clip.name for clip in reply.clips] == ["0.mp4", "1.mp4"]
    sums = [int(clip.frames.sum()) for clip in reply.clips]
    assert [clip.digest for clip in parrot.prompts[-1].clips] == sums and sums[0] != sums[1]


def test_two_clips_go_before_one_question_or_where_its_marks_are(videos):
    talk, parrot = dialogue("a", "b")
    for video in videos:
        talk.show(video)
    talk.ask("Which?")
    assert "user\nImage 1:VVVV\nImage 2:VVVV\nWhich?" in parrot.read()
    talk.reset()
    assert (talk.turns, talk.clips) == ([], [])
    talk.show(videos[1])
    talk.ask("Is <video> red?")
    assert talk.turns[0].text == "Is <video> red?" and len(talk.clips) == 1


def test_a_question_that_fails_can_be_asked_again(videos):
    talk, parrot = dialogue(KeyboardInterrupt(), "Yes.")
    talk.show(videos[0])
    with pytest.raises(DataError, match="cannot be answered: it has 2 <video> marks for 1 video"):
        talk.ask("<video> or <video>?")
    with pytest.raises(DataError, match="do not fit into the context of 120"):
        talk.ask("word " * 100)
    with pytest.raises(KeyboardInterrupt):
        talk.ask("Is it red?")
    with pytest.raises(DataError, match=r"none\.mp4: the file does not exist"):
        talk.show("none.mp4")
    assert talk.turns == [] and len(talk.clips) == 1
    talk.ask("Is it red?")
    assert talk.turns[0].text == "<video>\nIs it red?" and len(parrot.prompts) == 2


def test_more_clips_than_the_model_tells_apart_are_refused_and_the_conversation_goes_on(videos):
    talk, parrot = dialogue("No.", "Yes.", word_tracks=SimpleNamespace(max_clips=1))
    talk.show(videos[0])
    talk.ask("Is it red?")
    with pytest.raises(DataError, match="shows at most 1 clips"):
        talk.show(videos[1])
    assert talk.ask("Is it blue?").text == "Yes." and len(talk.clips) == len(parrot.prompts[-1].clips) == 1
    talk.reset()
    assert talk.show(videos[1]).name == "1.mp4"


def test_an_empty_answer_is_forgotten_with_its_question(videos):
    talk, parrot = dialogue(" ", "Yes.")
    talk.show(videos[0])
    assert talk.ask("Is it red?").text == " " and talk.turns == []
    talk.ask("Is it?")
    assert "user\nVVVV\nIs it?" in parrot.read()


@pytest.mark.parametrize("answer", ["It is <video> there", "yes <eos> no"])
def test_an_answer_that_could_not_be_read_again_is_forgotten(videos, answer):
    talk, parrot = dialogue(answer, "Yes.")
    talk.show(videos[0])
    reply = talk.ask("Is it red?")
    assert (reply.text, reply.remembered, talk.turns) == (answer, False, [])
    assert talk.ask("Is it?").remembered
    assert "user\nVVVV\nIs it?" in parrot.read()
