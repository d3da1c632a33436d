"""The Python interface: ``hilight_jax.load`` and the model that it returns.

```python
model = hilight_jax.load("runs/tune-demo")
clip = model.encode_video("shot.mp4")
text = model.encode_text("the cue ball hits the red ball")
print(clip @ text)
print(model.chat([{"role": "user", "text": "Is the red ball potted?", "videos": ["shot.mp4"]}]))
```
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from hilight_jax.core.errors import CheckpointError, ConfigError, DataError, nearest
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.data.video import Video
from hilight_jax.generation.dialogue import Dialogue
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.generation.video_clip import read_video_clip
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.load_config import read_config
from hilight_jax.stages.trained_chat import ChatModel, load_chat_model, make_generator
from hilight_jax.stages.trained_encoder import TrainedEncoder, load_encoder

_TURN_KEYS = ("role", "text", "videos")


def load(workdir: str | Path, which: Literal["best", "latest"] = "latest") -> "Model":
    """Loads a trained model.

    Args:
      workdir: Working directory of a run of ``encoder``, ``align`` or ``tune``. An encoder embeds; the other two also
        chat, and embed with the encoder that they were built on.
      which: Which of its checkpoints; the best was chosen on validation data.

    Raises:
      CheckpointError: The directory is no such run, or has no complete model.
    """
    config = read_config(workdir)
    if isinstance(config, EncoderTrainConfig):
        return Model(workdir, encoder=load_encoder(workdir, which))
    if isinstance(config, ChatTrainConfig):
        return Model(workdir, chat_model=load_chat_model(workdir, which))
    raise CheckpointError(
        f"'{workdir}' is a run of the stage '{config.stage}', which is a part of a model; name a run of encoder, align "
        f"or tune."
    )


class Model:
    """A trained model, which embeds videos and texts and answers questions.

    Attributes:
      data: The configuration of the chat model's conversations; None for an encoder.
      confidence_temperature: The temperature that ``evaluate`` fitted and that the log-probabilities of answers are
        computed at; None where it has fitted none, and they are at 1.
    """

    def __init__(self, workdir: str | Path, encoder: TrainedEncoder | None = None, chat_model: ChatModel | None = None):
        """Wraps a loaded model; call ``load`` instead."""
        self._workdir, self._known_encoder = workdir, encoder
        self.data, self._generator, self.confidence_temperature = None, None, None
        if chat_model is not None:
            self._origin = chat_model.origins["vision"]
            self.data = chat_model.data
            self.confidence_temperature = chat_model.confidence_temperature
            self._generator = make_generator(chat_model)

    @cached_property
    def encoder(self) -> TrainedEncoder:
        """The dual encoder: the run itself, or the one whose video tower the chat model sees with.

        Raises:
          CheckpointError: Its run cannot be read.
        """
        return self._known_encoder or load_encoder(self._origin.workdir, self._origin.step)

    @property
    def generator(self) -> Generator:
        """The chat model as a generator of answers.

        Raises:
          CheckpointError: This model only embeds.
        """
        if self._generator is None:
            raise CheckpointError(
                f"'{self._workdir}' is a run of the encoder, which embeds but cannot chat; name a run of align or tune."
            )
        return self._generator

    def encode_video(self, video: Video) -> Float[np.ndarray, " E"]:
        """Embeds a video, by its path or its bytes, as a vector of length 1.

        Its product with another vector of this model, of a video or a text, is their cosine similarity.

        Raises:
          DataError: The video cannot be decoded.
        """
        data = self.encoder.config.data
        frames = read_video_clip(video, data.num_frames, data.image_size).frames
        return _unit(self.encoder.encode_video(frames[None])["video_embeds"][0])

    def encode_text(self, text: str) -> Float[np.ndarray, " E"]:
        """Embeds a text as a vector of length 1; a text longer than the encoder's captions is cut.

        Raises:
          DataError: The text has no words.
        """
        if not any(character.isalnum() for character in text):
            raise DataError(f"the text is {text!r}; it needs at least one word.")
        tokens = ClipTokenizer(self.encoder.config.data.text_length)(text)
        return _unit(self.encoder.encode_text(tokens.ids[None], tokens.mask[None])["text_embeds"][0])

    def chat(
        self, turns: Sequence[Mapping[str, Any]], *, on_text: Callable[[str], None] | None = None, **sampling: Any
    ) -> str:
        """Answers the last of some turns.

        Args:
          turns: Dicts with ``role`` (``user``, the default, or ``model``), ``text``, and for the user optionally
            ``videos``. The videos stand before the text, or at its ``<video>`` marks, which must then be as many.
          on_text: Called with every new piece of the answer.
          **sampling: See ``SamplingConfig``: ``max_new_tokens=64``, ``temperature=0.0`` ...

        Returns:
          The answer; use ``dialogue`` for its tokens, their log-probabilities, its confidence and its prompt.

        Raises:
          CheckpointError: This model only embeds.
          DataError: A video cannot be decoded, or the conversation cannot be answered.
        """
        dialogue = self.dialogue(**sampling)
        for i, turn in enumerate(turns, 1):
            _check_turn(i, turn)
        for turn in turns[:-1]:
            _show(dialogue, turn)
            dialogue.say(turn.get("role", "user"), turn["text"])
        if not turns or turns[-1].get("role", "user") != "user":
            raise DataError("there is nothing to answer; end the conversation with a turn of the user.")
        _show(dialogue, turns[-1])
        return dialogue.ask(turns[-1]["text"], on_text).text

    def dialogue(self, **sampling: Any) -> Dialogue:
        """Starts a conversation that goes on turn by turn; ``sampling`` as in ``chat``.

        ```python
        talk = model.dialogue()
        talk.show("shot.mp4")
        reply = talk.ask("Is the red ball potted?")
        print(reply.text, reply.confidence)
        ```
        """
        known = [field.name for field in dataclasses.fields(SamplingConfig)]
        for name in sampling:
            if name not in known:
                raise ConfigError(
                    f"'{name}' is no option of sampling.{nearest(name, known)} Known: {', '.join(known)}."
                )
        return Dialogue(self.generator, self.data, SamplingConfig(**sampling))


def _check_turn(number: int, turn: Mapping[str, Any]) -> None:
    """Checks one turn; ``check_prompt`` checks their order."""
    if not isinstance(turn, Mapping) or not isinstance(turn.get("text"), str):
        raise DataError(
            f"turn {number} is {turn!r:.80}, but a turn is a dict with a text: "
            "{'role': 'user', 'text': 'Is a ball potted?', 'videos': ['shot.mp4']}."
        )
    for key in turn:
        if key not in _TURN_KEYS:
            raise DataError(f"turn {number} has the key '{key}'.{nearest(key, _TURN_KEYS)} Known: role, text, videos.")
    videos = turn.get("videos", ())
    listed = isinstance(videos, Sequence) and not isinstance(videos, (str, bytes))
    if not listed or not all(isinstance(video, (str, bytes, os.PathLike)) for video in videos):
        raise DataError(f"the videos of turn {number} are {videos!r:.80}; give a list of paths (or of files' bytes).")
    if videos and turn.get("role", "user") != "user":
        raise DataError(f"turn {number} is the model's, but only a user's turn can show videos; move them.")


def _show(dialogue: Dialogue, turn: Mapping[str, Any]) -> None:
    for video in turn.get("videos", ()):
        dialogue.show(video)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
