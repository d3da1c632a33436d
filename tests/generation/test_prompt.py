import numpy as np
import pytest

from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.conversation import TooLong, Turn
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.frame_sampling import KeyFrameConfig
from hilight_jax.generation.prompt import build_prompt
from tests.generation.chat import clip, frames, generator, prompt
from tests.serving.workdirs import TOKENIZER

DATA = ConversationDataConfig(
    num_frames=3, image_size=8, key_frames=KeyFrameConfig("explicit", 2, (0, 2)), num_video_tokens=4, max_length=80
)


def test_rows_tell_clips_apart():
    one, other = clip(0), clip(1)
    rows = prompt(5, one, 6, other).rows()
    assert rows == [2, 5, *[one.digest] * 4, 6, *[other.digest] * 4]
    assert one.digest != other.digest


def test_a_prompt_has_the_rows_and_the_key_frames_of_every_clip():
    turns = [Turn("user", "<video> red?"), Turn("model", "No."), Turn("user", "<video> blue?")]
    built = build_prompt(turns, [frames(0), frames(1)], GemmaTokenizer(TOKENIZER), DATA)
    assert np.count_nonzero(built.ids == VIDEO_ID) == 8
    assert [given.key_frames.tolist() for given in built.clips] == [[0, 2], [0, 2]]
    encoded = built.encode(generator().encode_clip)
    assert encoded.ids is built.ids and encoded.clips == (clip(0), clip(1))


def test_the_answer_needs_room():
    turns, tokenizer = [Turn("user", "is it red?")], GemmaTokenizer(TOKENIZER)
    length = len(build_prompt(turns, [], tokenizer, DATA).ids)
    build_prompt(turns, [], tokenizer, DATA, 80 - length)
    with pytest.raises(
        TooLong, match=r"^the conversation cannot be answered: its .* do not fit into the context of 80"
    ):
        build_prompt(turns, [], tokenizer, DATA, 81 - length)
