"""The Python interface: ``hilight_jax.load`` and the model that it returns.

```python
model = hilight_jax.load("billiards-mini")
clip = model.encode_video("shot.mp4")
text = model.encode_text("the cue ball hits the red ball")
print(clip @ text)
best = model.search("the red ball is potted", ["shot.mp4", "other.mp4"])[0]
print(model.chat([{"role": "user", "text": "Is the red ball potted?", "videos": ["shot.mp4"]}]))
```
"""

import dataclasses
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from jaxtyping import Float

from hilight_jax.core.cache import cache_directory
from hilight_jax.core.errors import CheckpointError, ConfigError, DataError, nearest
from hilight_jax.data.films.pieces import parse_rule
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.data.video import Video
from hilight_jax.formats.exporting.packed import find_run
from hilight_jax.generation.dialogue import Dialogue
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.locating import Finder, Located, locate
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.generation.video_clip import Zoom, read_video_clip
from hilight_jax.generation.zoom import parse_zoom
from hilight_jax.stages.chat_config import ChatTrainConfig
from hilight_jax.stages.clip_search import SHORTLIST, EncodedClip, compare, encode_clip
from hilight_jax.stages.encoder_config import EncoderTrainConfig
from hilight_jax.stages.film_talk import FilmTalk
from hilight_jax.stages.finders import ChatFinder, EncoderFinder
from hilight_jax.stages.load_config import read_config
from hilight_jax.stages.trained_chat import ChatModel, load_chat_model, make_generator
from hilight_jax.stages.trained_encoder import TrainedEncoder, load_encoder
from hilight_jax.stages.watched_films import Moment, WatchedFilm, watch

_TURN_KEYS = ("role", "text", "videos")


def load(workdir: str | Path, which: Literal["best", "latest"] = "latest") -> "Model":
    """Loads a trained model.

    Args:
      workdir: Working directory of a run of ``encoder``, ``align`` or ``tune``, a packed model, or the name of one that
        comes with the package. An encoder embeds; the others also chat, and embed with the encoder that they were built
        on.
      which: Which of its checkpoints; the best was chosen on validation data.

    Raises:
      CheckpointError: The directory is no such run, or has no complete model.
    """
    workdir = find_run(workdir)
    config = read_config(workdir)
    if isinstance(config, EncoderTrainConfig):
        return Model(workdir, encoder=load_encoder(workdir, which))
    if isinstance(config, ChatTrainConfig):
        return Model(workdir, chat_model=load_chat_model(workdir, which))
    raise CheckpointError(
        f"'{workdir}' is a run of the stage '{config.stage}', which is a part of a model; name a run of encoder, align "
        f"or tune."
    )


class Found(NamedTuple):
    """A video that fits a text.

    Attributes:
      number: Its place in the list that was searched.
      similarity: Cosine of the video's and the text's embedding.
      score: The same with the help of the things that the text names; videos are ordered by it.
    """

    number: int
    similarity: float
    score: float


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
        self._chat_finder: ChatFinder | None = None
        if chat_model is not None:
            self._origin = chat_model.origins["vision"]
            if chat_model.config.word_tracks is not None:
                self._chat_finder = ChatFinder(chat_model)
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

    @cached_property
    def finder(self) -> Finder:
        """Finds phrases in frames: a chat model with word tracks by itself, another model with its encoder.

        Raises:
          CheckpointError: The encoder's run cannot be read.
        """
        workdir = self._workdir if self._generator is None else self._origin.workdir
        return self._chat_finder or EncoderFinder(self.encoder, workdir)

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

    def encode_clip(self, video: Video) -> EncodedClip:
        """Encodes a video for ``search``: its embedding, and the features that words are found in.

        Raises:
          DataError: The video cannot be decoded.
        """
        data = self.encoder.config.data
        return encode_clip(self.encoder, read_video_clip(video, data.num_frames, data.image_size).frames)

    def search(
        self,
        text: str,
        videos: Sequence[Video | EncodedClip],
        *,
        words: bool | None = None,
        shortlist: int | None = SHORTLIST,
    ) -> list[Found]:
        """Orders videos by how well they fit a text, the best first.

        Args:
          text: A description, such as "the cue ball hits the red ball".
          videos: Paths, files' bytes, or what ``encode_clip`` returned, which saves encoding them again.
          words: Look for the things that the text names in the videos of the shortlist; None does where the encoder
            has local heads.
          shortlist: Length of the shortlist, the videos of the highest cosine; None takes all.

        Raises:
          ConfigError: ``words`` is True, but the encoder has no local heads.
          DataError: The text has no words, there is no video, or one cannot be decoded.
        """
        for number, video in enumerate(videos):
            if not isinstance(video, (str, bytes, os.PathLike, EncodedClip)):
                raise DataError(
                    f"video {number} of the search is {type(video).__name__}; give a path, a file's bytes, or what "
                    "encode_clip returned."
                )
        clips = [video if isinstance(video, EncodedClip) else self.encode_clip(video) for video in videos]
        similarity, score = (x.tolist() for x in compare(self.encoder, text, clips, words, shortlist))
        order = sorted(range(len(clips)), key=lambda number: -score[number])
        return [Found(number, similarity[number], score[number]) for number in order]

    def encode_text(self, text: str) -> Float[np.ndarray, " E"]:
        """Embeds a text as a vector of length 1; a text longer than the encoder's captions is cut.

        Raises:
          DataError: The text has no words.
        """
        if not isinstance(text, str) or not any(character.isalnum() for character in text):
            raise DataError(f"the text is {text!r}; it needs at least one word.")
        tokens = ClipTokenizer(self.encoder.config.data.text_length)(text)
        return _unit(self.encoder.encode_text(tokens.ids[None], tokens.mask[None])["text_embeds"][0])

    @overload
    def locate(  # pyright: ignore[reportOverlappingOverload]  # A text is a sequence of texts, too.
        self, video: Video, phrases: str, frames: int | Sequence[int] | None = None, zoom: Zoom = "off"
    ) -> Located: ...

    @overload
    def locate(
        self, video: Video, phrases: Sequence[str], frames: int | Sequence[int] | None = None, zoom: Zoom = "off"
    ) -> list[Located]: ...

    def locate(
        self,
        video: Video,
        phrases: str | Sequence[str],
        frames: int | Sequence[int] | None = None,
        zoom: Zoom = "off",
    ) -> Located | list[Located]:
        """Finds where a named thing is in the frames of a video.

        ```python
        found = model.locate("shot.mp4", "the red ball", frames=24)
        print(found.times[found.seen], found.x[found.seen], found.y[found.seen])  # Seconds and pixels.
        ```

        Args:
          video: Its path or its bytes.
          phrases: A thing in a few words; or several, which gives a list. A word that a caption of the training data
            never named is found badly, and an encoder without local heads finds nothing well.
          frames: How many, spread evenly from the first to the last, or their numbers, from 0, in any order and as many
            as you like; None for those that the model sees. A video of fewer frames than that repeats some.
          zoom: "off" squeezes whole frames into the model's square. A number from 1 reads the video's own pictures in
            tiles, so many along the shorter side: a ball should be an eighth of a tile wide. "auto" tries several, and
            so does a list of numbers. With zoom each thing follows the best path through the frames.

        Raises:
          CheckpointError: The run of the encoder that a chat model was built on cannot be read.
          ConfigError: ``frames`` is empty or no number.
          UserError: ``zoom`` is none of these.
          DataError: The video cannot be decoded or has no such frame, or a phrase names nothing visible.
        """
        named = [phrases] if isinstance(phrases, str) else list(phrases)
        if not named:
            raise DataError("there is nothing to locate; name at least one thing, such as 'the red ball'.")
        wanted = self.finder.num_frames if frames is None else _frames(frames)
        clip = read_video_clip(video, wanted, self.finder.image_size, parse_zoom(zoom, "zoom"))
        found = locate(self.finder, clip, named)
        return found[0] if isinstance(phrases, str) else found

    def watch(
        self, video: str | os.PathLike, windows: str | None = None, report: Callable[[float], None] | None = None
    ) -> WatchedFilm:
        """Cuts a film of any length into shots, and encodes each once; the next call finds them in the cache.

        ```python
        film = model.watch("match.mp4")
        for moment in model.moments(film, "the red ball is potted")[:3]:
            print(moment.start, moment.end, moment.score)  # Seconds from the first shown frame.
        ```

        Args:
          video: Its path.
          windows: "SECONDS" or "SECONDS,STRIDE": windows of one length in place of shots, for films that are no
            billiards.
          report: Called with the share of the film that is read, now and then.

        Raises:
          DataError: It cannot be read; one that is damaged is read as far as it goes, and ``faults`` says so.
          UserError: ``windows`` is none.
        """
        cache = cache_directory() / "films"
        return watch(self.encoder, Path(video), cache, parse_rule(windows), report or (lambda share: None))

    def moments(self, film: WatchedFilm, text: str, words: bool | None = None) -> list[Moment]:
        """Orders the shots of a film by how well they fit a text, the best first; ``words`` as in ``search``.

        Raises:
          ConfigError: ``words`` is True, but the encoder has no local heads.
          DataError: The text has no words.
        """
        return film.moments(self.encoder, text, words)

    def film_talk(self, film: WatchedFilm, shots: int = 1, zoom: Zoom = "off", **sampling: Any) -> FilmTalk:
        """Starts a conversation about a film, in which every question is answered over the shots that fit it.

        ```python
        talk = model.film_talk(model.watch("match.mp4"))
        print(talk.ask("Is the red ball potted?").text)
        print(talk.ask("When does the cue ball hit the blue ball?").text)  # "At 12:03.4; less likely at ..."
        ```

        Args:
          film: Of ``watch``.
          shots: The best shots of a question that the model sees in one prompt.
          zoom: As in ``locate``.
          **sampling: As in ``chat``.

        Raises:
          CheckpointError: This model only embeds.
          ConfigError: ``shots`` is below 1, or an option is unknown.
        """
        if shots < 1:
            raise ConfigError(f"shots is {shots}, but must be at least 1.")
        options = (self.generator, self.data, _sampling(sampling), shots, parse_zoom(zoom, "zoom"))
        return FilmTalk(film, self.encoder, *options)

    def chat(
        self,
        turns: Sequence[Mapping[str, Any]],
        *,
        on_text: Callable[[str], None] | None = None,
        zoom: Zoom = "off",
        **sampling: Any,
    ) -> str:
        """Answers the last of some turns.

        Args:
          turns: Dicts with ``role`` (``user``, the default, or ``model``), ``text``, and for the user optionally
            ``videos``. The videos stand before the text, or at its ``<video>`` marks, which must then be as many.
          on_text: Called with every new piece of the answer.
          zoom: How near words and things are looked for in the videos, as in ``locate``; for a model with word tracks.
          **sampling: See ``SamplingConfig``: ``max_new_tokens=64``, ``temperature=0.0`` ...

        Returns:
          The answer; use ``dialogue`` for its tokens, their log-probabilities, its confidence and its prompt.

        Raises:
          CheckpointError: This model only embeds.
          DataError: A video cannot be decoded, or the conversation cannot be answered.
        """
        dialogue, nearness = self.dialogue(**sampling), parse_zoom(zoom, "zoom")
        for i, turn in enumerate(turns, 1):
            _check_turn(i, turn)
        for turn in turns[:-1]:
            _show(dialogue, turn, nearness)
            dialogue.say(turn.get("role", "user"), turn["text"])
        if not turns or turns[-1].get("role", "user") != "user":
            raise DataError("there is nothing to answer; end the conversation with a turn of the user.")
        _show(dialogue, turns[-1], nearness)
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
        return Dialogue(self.generator, self.data, _sampling(sampling))


def _sampling(options: Mapping[str, Any]) -> SamplingConfig:
    known = [field.name for field in dataclasses.fields(SamplingConfig)]
    for name in options:
        if name not in known:
            raise ConfigError(f"'{name}' is no option of sampling.{nearest(name, known)} Known: {', '.join(known)}.")
    return SamplingConfig(**options)


def _frames(frames: int | Sequence[int]) -> int | list[int]:
    """Checks the frames that ``locate`` is asked for."""
    try:
        wanted = [operator.index(frame) for frame in frames] if isinstance(frames, Iterable) else operator.index(frames)
    except TypeError:
        wanted = 0
    if not wanted or (isinstance(wanted, int) and wanted < 1):
        raise ConfigError(f"frames is {frames!r:.60}; give the number of frames, at least 1, or their numbers.")
    return wanted


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


def _show(dialogue: Dialogue, turn: Mapping[str, Any], zoom: Zoom) -> None:
    for video in turn.get("videos", ()):
        dialogue.show(video, zoom)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
