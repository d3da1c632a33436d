"""What the server does for a request, whatever protocol it came by."""

import asyncio
import base64
import contextlib
import dataclasses
import io
import secrets
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from hilight_jax.core.errors import ConfigError, DataError, UserError
from hilight_jax.data.conversations.checks import check_prompt
from hilight_jax.data.conversations.config import ConversationDataConfig
from hilight_jax.data.conversations.context_length import ConversationError, TooLong
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Turn
from hilight_jax.data.conversations.prompts import expand, prompt_ids
from hilight_jax.data.key_frames import choose_key_frames
from hilight_jax.generation.evidence import ClipEvidence, trace_answer
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.serving.admission import Line
from hilight_jax.serving.engine import Engine, Piece, Request, Shown, Ticket
from hilight_jax.serving.protocol import ChatRequest, Message, TextPart, VideoPart
from hilight_jax.serving.videos.video_store import Videos, is_file_id

_Found = TypeVar("_Found")
_PATIENCE = 0.25
# Characters that a token may have.
_WIDEST = 64
_STRETCHES = 24


class UnknownModel(UserError):
    """A request names a model that is not served."""


class Embedder(Protocol):
    """The encoder that the chat model sees with.

    Attributes:
      num_frames: F, frames that it takes of a video.
      image_size: Rows and columns of a frame.
    """

    num_frames: int
    image_size: int

    def count_tokens(self, text: str) -> int:
        """Tokens of a text as it is embedded."""
        ...

    def embed_text(self, text: str) -> np.ndarray:
        """A text as a unit vector."""
        ...

    def embed_frames(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 [F, Y, X, 3] as a unit vector."""
        ...


@dataclasses.dataclass(frozen=True)
class ServiceLimits:
    """What one request may ask of the model.

    Attributes:
      max_new_tokens: The longest answer.
      max_videos: Videos in one conversation.
      default_new_tokens: Of a request that names none.
      max_waiting: Requests that may wait for embeddings, evidence or moments, which are worked out one by one.
    """

    max_new_tokens: int = 1024
    max_videos: int = 8
    default_new_tokens: int = 128
    max_waiting: int = 64


class Service:
    """Conversations and embeddings on one model."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        data: ConversationDataConfig,
        videos: Videos,
        embedder: Embedder | None,
        limits: ServiceLimits = ServiceLimits(),
    ):
        """Puts the parts together.

        Args:
          name: What the model is called.
          engine: Answers.
          data: How the model was shown clips in training.
          videos: What clients show.
          embedder: Embeds; None where the encoder's run is gone.
          limits: What a request may ask.
        """
        self.name, self.engine, self.videos, self.limits = name, engine, videos, limits
        self._data, self._embedder = data, embedder
        self._aside = Line(1, limits.max_waiting, "for embeddings, evidence or moments")

    def warm(self) -> None:
        """Compiles what the first question about a video needs; a question of another length compiles its own."""
        data = self._data
        blank = np.zeros((data.num_frames, data.image_size, data.image_size, 3), np.uint8)
        keys = np.asarray(choose_key_frames(data.key_frames, blank), np.int32)
        for question in ("Which ball is hit first?", "Which ball is hit first, and which one next, or is none?"):
            with contextlib.suppress(DataError):  # It is too long for this model.
                ids = self._ids([Turn("user", VIDEO_MARK + question)], 1)
                sampling = SamplingConfig(max_new_tokens=2, stop_ids=())
                for _ in self.engine.submit(Request(ids, (Shown(blank, keys),), sampling)).pieces():
                    pass
        if self._embedder is not None:
            size = self._embedder.image_size
            self._embedder.embed_text("a ball")
            self._embedder.embed_frames(np.zeros((self._embedder.num_frames, size, size, 3), np.uint8))

    def facts(self) -> dict[str, Any]:
        """The model, as a list of models shows it; the context length under the name that vLLM gives it."""
        facts = {"id": self.name, "object": "model", "created": 0, "owned_by": "hilight_jax"}
        sizes = {"max_model_len": self.engine.generator.max_length, "max_videos": self.limits.max_videos}
        return facts | sizes | {"video_tokens": self._data.num_video_tokens, "embeds": self._embedder is not None}

    def check_model(self, name: str) -> None:
        """Raises an ``UnknownModel`` for another name than this model's; none at all is this one's."""
        if name not in ("", self.name):
            raise UnknownModel(f"there is no model '{name[:100]}'; this server has '{self.name}'.")

    async def begin(self, asked: ChatRequest) -> tuple[Ticket, int]:
        """Puts a conversation in line; its ticket, and the tokens of its prompt.

        Raises:
          UserError: It cannot be answered, or the line is full.
        """
        self.check_model(asked.model)
        turns, urls = turns_of(asked.messages)
        sampling = self._sampling(asked)
        clips = await self._footage(urls)
        ids = await asyncio.to_thread(self._ids, turns, len(clips))
        shown = tuple(
            Shown(clip.frames, np.asarray(choose_key_frames(self._data.key_frames, clip.frames), np.int32))
            for clip in clips
        )
        stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
        return self.engine.submit(Request(ids, shown, sampling, stop)), len(ids)

    async def pieces(self, ticket: Ticket, left: Callable[[], Any], *, at_once: bool) -> AsyncIterator[Piece]:
        """The pieces of an answer; a client that has left is noticed while it waits.

        Args:
          ticket: Of the request.
          left: Awaited for whether the client has left.
          at_once: Nobody reads the pieces before the last one.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits any more.
                loop.call_soon_threadsafe(news.set)

        ticket.listen(tell, only_last=at_once)
        try:
            while True:
                for piece in ticket.take():
                    yield piece
                    if piece.finish_reason:
                        return
                try:
                    await asyncio.wait_for(news.wait(), _PATIENCE)
                except TimeoutError:
                    if await left():
                        return
                news.clear()
        finally:
            ticket.cancel()

    async def embed(self, items: Sequence[str | TextPart | VideoPart]) -> tuple[list[np.ndarray], int]:
        """Unit vectors of texts and videos, comparable with each other, and the tokens of the texts.

        Raises:
          ConfigError: This server has no encoder.
          UserError: A video cannot be used.
        """
        embedder, found, tokens = self._encoder(), [], 0
        for item in items:
            text = item.text if isinstance(item, TextPart) else item
            if isinstance(text, VideoPart) or is_file_id(text):
                clip = await self.videos.footage(text if isinstance(text, str) else text.video_url.url)
                found.append(await self._work(embedder.embed_frames, clip.frames))
            else:
                found.append(await self._work(embedder.embed_text, text))
                tokens += embedder.count_tokens(text)
        return found, tokens

    async def evidence(self, asked: ChatRequest, answer: str) -> list[dict[str, Any]]:
        """What an answer drew on: of each video its frames as JPEG files and the shares of their patches.

        Raises:
          UserError: The conversation cannot be read, shows no video, or the answer is empty.
        """
        self.check_model(asked.model)
        turns, urls = turns_of(asked.messages)
        clips = await self._footage(urls)
        ids = await asyncio.to_thread(self._ids, turns, len(clips))
        generator = self.engine.generator
        self._check_width(answer)
        said = np.array(await asyncio.to_thread(generator.tokenizer.encode, answer), np.int32)

        def trace() -> list[ClipEvidence]:
            shown = [
                (c.frames, np.asarray(choose_key_frames(self._data.key_frames, c.frames), np.int32)) for c in clips
            ]
            prompt = Prompt(ids, tuple(generator.encode_clip(*clip) for clip in shown))
            return trace_answer(generator, prompt, said)

        traced = await self._aside.run(lambda: self._call(trace))
        return await asyncio.to_thread(_evidence_of, clips, traced)

    async def moments(self, url: str, text: str) -> dict[str, Any]:
        """How similar a phrase is to each stretch of a video: stretches of as many frames as the encoder sees.

        Raises:
          UserError: There is no encoder, or the video cannot be used.
        """
        embedder = self._encoder()
        count = embedder.num_frames
        clip = await self.videos.footage(url, count + _STRETCHES - 1)

        def similarities() -> list[float]:
            phrase = embedder.embed_text(text)
            starts = range(len(clip.frames) - count + 1)
            return [float(embedder.embed_frames(clip.frames[start : start + count]) @ phrase) for start in starts]

        found = await self._work(similarities)
        middles = [float(np.mean(clip.numbers[i : i + count])) / max(clip.num_total - 1, 1) for i in range(len(found))]
        return {"similarity": found, "time": middles, "peak": middles[int(np.argmax(found))]}

    async def _work(self, work: Callable[..., _Found], *given: Any) -> _Found:
        """Has the encoder do something in a thread, as soon as it is free."""
        return await self._aside.run(lambda: asyncio.to_thread(work, *given))

    async def _call(self, work: Callable[[], _Found]) -> _Found:
        """Has the engine's thread, which owns the model, do something."""
        return await asyncio.wrap_future(self.engine.call(work))

    def _encoder(self) -> Embedder:
        if self._embedder is None:
            raise ConfigError("this server has no encoder: the run that its model sees with is gone.")
        return self._embedder

    async def _footage(self, urls: Sequence[str]) -> list[VideoClip]:
        """The videos of a conversation; what is wrong with one of several names it."""
        if len(urls) > self.limits.max_videos:
            raise DataError(
                f"the conversation shows {len(urls)} videos, but may show {self.limits.max_videos}; show fewer."
            )
        clips = []
        for number, url in enumerate(urls, 1):
            try:
                clips.append(await self.videos.footage(url))
            except UserError as error:
                if len(urls) == 1:
                    raise
                raise type(error)(f"video {number} of {len(urls)}: {error}") from error
        return clips

    def _check_width(self, *texts: str) -> None:
        """Refuses what is much too long before it is split into tokens."""
        width = sum(map(len, texts))
        if width > _WIDEST * self._data.max_length:
            raise TooLong(
                f"the conversation cannot be answered: its {width:,} characters do not fit into the context of "
                f"{self._data.max_length} tokens; start anew, or ask a shorter question."
            )

    def _ids(self, turns: list[Turn], num_clips: int) -> np.ndarray:
        self._check_width(*(turn.text for turn in turns))
        tokenizer, rows = self.engine.generator.tokenizer, self._data.num_video_tokens
        try:
            check_prompt(turns, num_clips, tokenizer, rows, self._data.max_length)
        except ConversationError as error:
            raise type(error)(f"the conversation cannot be answered: {error}") from error
        return expand(prompt_ids(turns, tokenizer), None, rows)[0]

    def _sampling(self, asked: ChatRequest) -> SamplingConfig:
        wanted = asked.max_completion_tokens or asked.max_tokens or self.limits.default_new_tokens
        temperature = asked.temperature or 0.0
        if 0 < temperature < 1e-4:
            temperature = 0.0
        greedy = temperature == 0
        return SamplingConfig(
            temperature=temperature,
            top_k=0 if greedy else asked.top_k or 0,
            top_p=1.0 if greedy or asked.top_p is None else asked.top_p,
            max_new_tokens=min(wanted, self.limits.max_new_tokens),
            stop_ids=() if asked.ignore_eos else None,
            seed=secrets.randbits(32) if asked.seed is None else zlib.crc32(str(asked.seed).encode()),
        )


def _evidence_of(clips: Sequence[VideoClip], traced: Sequence[ClipEvidence]) -> list[dict[str, Any]]:
    """Evidence as it is sent."""
    return [
        {
            "share": one.share,
            "frames": [_jpeg_url(picture) for picture in clip.pictures],
            "numbers": clip.numbers.tolist(),
            "num_total": clip.num_total,
            "maps": (one.maps / max(float(one.maps.max()), 1e-12)).round(4).tolist(),
            "frame_shares": (one.maps.sum(axis=(1, 2)) / max(float(one.maps.sum()), 1e-12)).round(4).tolist(),
        }
        for clip, one in zip(clips, traced, strict=True)
    ]


def _jpeg_url(picture: np.ndarray) -> str:
    """A picture uint8 [Y, X, 3] as a ``data:`` URL."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def turns_of(messages: Sequence[Message]) -> tuple[list[Turn], list[str]]:
    """The turns of a conversation in the model's words, and the videos that it shows, in order.

    The model knows no system turn: its words stand before those of the next question. Messages of one side that follow
    each other are one turn.

    Raises:
      DataError: Someone else than the user shows a video, or a message has no words.
    """
    turns: list[Turn] = []
    urls: list[str] = []
    system = ""
    for message in messages:
        parts = message.content if isinstance(message.content, list) else []
        text = message.content if isinstance(message.content, str) else ""
        for part in parts:
            if isinstance(part, VideoPart):
                if message.role != "user":
                    raise DataError(f"a message of the {message.role} shows a video, but only the user's may.")
                urls.append(part.video_url.url)
                text += VIDEO_MARK
            else:
                text += part.text.replace(VIDEO_MARK, "< video >")
        if isinstance(message.content, str):
            text = text.replace(VIDEO_MARK, "< video >")
        if message.role in ("system", "developer"):
            system += text.strip() + "\n"
        else:
            role = "model" if message.role == "assistant" else "user"
            if role == "user":
                text, system = system + text, ""
            if turns and turns[-1].role == role:
                text = f"{turns.pop().text}\n{text}"
            turns.append(Turn(role, text))
    return turns, urls
