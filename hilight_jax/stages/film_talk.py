"""A conversation about a film of any length: every question is answered over the shots that fit it best.

A question that names things is compared with all shots, and asked about the best ones in a conversation of their own:
a small model that was trained on short conversations does not tell the shots of earlier questions apart. One that names
nothing, such as "And then?", goes on with the shots of the question before it. "When ...?" is answered by the times of
the shots themselves, without the language model: of those that fit the question, or where it names nothing ("When did
that happen?") of those before.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hilight_jax.core.progress import timestamp
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.films.pieces import LONG_SECONDS
from hilight_jax.data.films.timeline import stated_seconds
from hilight_jax.data.video import VideoError
from hilight_jax.generation.dialogue import Dialogue, Reply
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.locating import named_things
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.generation.video_clip import Zoom
from hilight_jax.stages.trained_encoder import TrainedEncoder
from hilight_jax.stages.watched_films import Moment, WatchedFilm

# "When does the red ball drop?", "At what time was ...": the rest is what to look for.
_WHEN = re.compile(
    r"^\s*(?:when|at what (?:time|moment)|at which (?:time|moment|minute)|what time)\s+"
    r"(?:does|do|did|is|are|was|were|will|has|have|can)\s+(?P<what>[^,;]+?)\s*[?.!]*\s*$",
    re.IGNORECASE,
)
NUM_TIMES = 3  # Times that answer "when".


class FilmReply(NamedTuple):
    """An answer about a film.

    Attributes:
      text: The answer.
      moments: The shots that it is about, the best first.
      reply: The language model's answer over them; None where the times are the answer.
    """

    text: str
    moments: tuple[Moment, ...]
    reply: Reply | None


class FilmTalk:
    """A conversation about one film.

    Attributes:
      film: What it is about.
    """

    def __init__(
        self,
        film: WatchedFilm,
        encoder: TrainedEncoder,
        generator: Generator,
        data: ConversationDataConfig,
        sampling: SamplingConfig,
        shots: int = 1,
        zoom: Zoom = "off",
    ):
        """Starts with no turns.

        Args:
          film: What it is about.
          encoder: That of the film.
          generator: The language model.
          data: The configuration of its conversations.
          sampling: The choice of tokens.
          shots: How many of the best shots a question is asked about, as clips of one prompt.
          zoom: The zoom that they are looked at with.
        """
        self.film, self._encoder, self._shots, self._zoom = film, encoder, shots, zoom
        self._things = tuple(data.things or ())
        self._start: Callable[[], Dialogue] = lambda: Dialogue(generator, data, sampling)
        self._image_size = data.image_size
        self._dialogue: Dialogue | None = None
        self._moments: tuple[Moment, ...] = ()

    def ask(self, question: str, on_text: Callable[[str], None] | None = None) -> FilmReply:
        """Answers a question; ``on_text`` is called with every further piece of the answer.

        Raises:
          DataError: The question has no words, or cannot be answered.
        """
        if asked := _WHEN.match(question):
            named = named_things(asked["what"], self._things) or not self._moments
            return self._when(self._best(asked["what"], NUM_TIMES) if named else self._moments, on_text)
        if self._dialogue is None or named_things(question, self._things):
            dialogue, moments = self._start(), self._best(question, self._shots)
            for moment in sorted(moments, key=lambda moment: moment.start):
                dialogue.add(self.film.clip(moment.number, self._image_size, self._zoom))
        else:
            dialogue, moments = self._dialogue, self._moments
        reply = dialogue.ask(question, on_text)
        self._dialogue, self._moments = dialogue, moments
        return FilmReply(reply.text, moments, reply)

    def reset(self) -> None:
        """Drops all turns; the film stays."""
        self._dialogue, self._moments = None, ()

    def _when(self, moments: tuple[Moment, ...], on_text: Callable[[str], None] | None) -> FilmReply:
        self._moments = moments
        first, *others = (timestamp(moment.at) for moment in moments)
        text = f"At {first}" + (f"; less likely at {' or '.join(others)}." if others else ".")
        if on_text is not None:
            on_text(text)
        return FilmReply(text, moments, None)

    def _best(self, text: str, number: int) -> tuple[Moment, ...]:
        """The best moments in which something is played, or where there are none, of all."""
        moments = self.film.moments(self._encoder, text)
        played = [moment for moment in moments if moment.kind in ("stroke", "window")]
        return tuple((played or moments)[:number])


def is_long(video: str | Path) -> bool:
    """Returns True if a video is to be cut into shots; False also if it cannot be read, which reading it will say."""
    try:
        return stated_seconds(str(video)) > LONG_SECONDS
    except VideoError:
        return False
