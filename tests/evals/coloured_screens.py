"""A world so plain that the right answers can be looked up: screens of one colour, and a model that sees the colour.

Each clip is asked for its colour, whether it is red (both need the clip), and how many screens there are (one, always).
"""

from types import SimpleNamespace

import numpy as np

from hilight_jax.billiards.encoding import encode_video
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.conversation import Conversation, Turn
from hilight_jax.data.frame_sampling import KeyFrameConfig
from tests.data.conversations.tiny_gemma import PATH, TOKENIZER

COLOURS = ("red", "green", "blue")
VIDEO_TOKENS = 3
DATA = ConversationDataConfig(
    num_frames=2,
    image_size=32,
    key_frames=KeyFrameConfig(count=1),
    num_video_tokens=VIDEO_TOKENS,
    tokenizer=str(PATH),
    max_length=512,
    max_videos=2,
)


class ColouredScreens:
    """One conversation of three questions for each of `colours`; `broken` ones hold no video."""

    def __init__(self, colours, name="questions:screens/validation", broken=()):
        self.name, self._colours, self._broken = name, colours, broken

    def __len__(self):
        return len(self._colours)

    def conversation(self, index, rng):
        colour = self._colours[index]
        frames = np.zeros((2, 32, 32, 3), np.uint8)
        frames[..., COLOURS.index(colour)] = 200
        asked = [
            ("What colour is the screen?", f"{colour.capitalize()}.", "colour"),
            ("Is the screen red?", "Yes." if colour == "red" else "No.", "is_red"),
            ("How many screens are there?", "One.", "count"),
        ]
        turns = [Turn(*pair) for question, answer, _ in asked for pair in (("user", question), ("model", answer))]
        turns[0] = turns[0]._replace(text=f"<video>\n{turns[0].text}")
        video = b"" if index in self._broken else encode_video(frames, fps=2)
        return Conversation(f"screens/{index}", (video,), tuple(turns), tuple(kind for *_, kind in asked))


class ColourSpeaker:
    """Answers by the colour of its last clip; notes the prompts and the sizes of its batches."""

    def __init__(self):
        self.tokenizer, self.prompts, self.sizes = TOKENIZER, [], []

    def encode_clip(self, frames, key_frames, closer=None):
        colour = COLOURS[int(frames.mean((0, 1, 2)).argmax())]
        return SimpleNamespace(digest=f"{colour:-<16}", colour=colour)

    def generate(self, prompts, sampling, temperatures):
        """Answers with two thirds of the probability at temperature 1, and with less at higher ones."""
        self.sizes.append(len(prompts))
        log_probs = -np.log1p(np.exp(-np.log(2) / np.array(temperatures)))
        return [SimpleNamespace(text=self._answer(prompt), at_temperatures=log_probs) for prompt in prompts]

    def _answer(self, prompt):
        assert np.count_nonzero(prompt.ids == VIDEO_ID) == VIDEO_TOKENS * len(prompt.clips)
        text = TOKENIZER.decode(prompt.ids, keep_control=True)
        self.prompts.append(text)
        question = text.rpartition("<start_of_turn>user")[2]
        if "How many" in question:
            return "1"
        colour = prompt.clips[-1].colour
        return f"the {colour}" if "What" in question else "yes, it is" if colour == "red" else "no"
