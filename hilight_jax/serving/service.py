"""The service behind the HTTP routes: checks requests, builds prompts, and hands them to the engine or the encoder."""

import asyncio
import contextlib
import dataclasses
import secrets
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np

from hilight_jax.archive.store import Store
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.conversation import VIDEO_MARK, TooLong, Turn
from hilight_jax.data.films.pieces import LONG_SECONDS, SHOTS
from hilight_jax.generation.evidence import ClipEvidence, trace_answer
from hilight_jax.generation.locating import Finder
from hilight_jax.generation.prompt import UnencodedPrompt, build_prompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.generation.video_clip import VideoClip, Zoom
from hilight_jax.serving.answer_stream import AnswerStream, Chunk, GenerationRequest
from hilight_jax.serving.archive_search import ArchiveService
from hilight_jax.serving.embedding import Embedder, EmbeddingService
from hilight_jax.serving.engine import Engine
from hilight_jax.serving.films import FilmService, Moment
from hilight_jax.serving.locating import LocatingService
from hilight_jax.serving.protocol import ChatRequest, last_question, turns_of
from hilight_jax.serving.videos.admission import AdmissionQueue
from hilight_jax.serving.videos.video_store import VideoStore

_Result = TypeVar("_Result")
# Seconds between two checks for a client that has left.
_POLL_SECONDS = 0.25
# Characters of a token, at most.
_MAX_TOKEN_WIDTH = 64


class UnknownModel(UserError):
    """A request names a model that is not served."""


class Disconnected(UserError):
    """The client has left before its response was ready."""


@dataclasses.dataclass(frozen=True)
class ServiceLimits:
    """Limits of one request.

    Attributes:
      max_new_tokens: The longest answer.
      max_videos: Videos of one conversation; a model with word tracks may take fewer.
      default_new_tokens: The longest answer to a request that names no limit.
      max_waiting: Requests that may wait for embeddings, evidence, moments or places, computed one at a time.
    """

    max_new_tokens: int = 1024
    max_videos: int = 8
    default_new_tokens: int = 128
    max_waiting: int = 64


class Service:
    """Conversations, evidence and embeddings on one model."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        data: ConversationDataConfig,
        videos: VideoStore,
        embedder: Embedder | None,
        limits: ServiceLimits = ServiceLimits(),
        finder: Finder | None = None,
        archive: Store | None = None,
    ):
        """Connects the parts; ``data`` is the model's own. Without the encoder's run there is no embedder or finder.

        The index ``archive`` must be made with the embedder's encoder.
        """
        tracks = engine.generator.config.word_tracks
        if tracks is not None:
            limits = dataclasses.replace(limits, max_videos=min(limits.max_videos, tracks.max_clips))
        self.name, self.engine, self.videos, self.limits = name, engine, videos, limits
        self._data = data
        self._queue = AdmissionQueue(1, limits.max_waiting, "for embeddings, evidence, moments or places")
        self.embedding = EmbeddingService(embedder, videos, self._queue)
        self.films = FilmService(embedder, videos, self._queue)
        self.archive = ArchiveService(archive, embedder, videos, self._queue)
        self.locating = LocatingService(finder, data.things or (), videos, self._queue)

    def warm_up(self) -> None:
        """Compiles the programs of the first question about a video; questions of other lengths compile their own."""
        data = self._data
        blank = np.zeros((data.num_frames, data.image_size, data.image_size, 3), np.uint8)
        sampling = SamplingConfig(max_new_tokens=2, stop_ids=())
        for question in ("Which ball is hit first?", "Which ball is hit first, and which one next, or is none?"):
            with contextlib.suppress(DataError):  # The question does not fit into the context of this model.
                prompt = self._build_prompt([Turn("user", VIDEO_MARK + question)], [blank])
                for _ in self.engine.submit(GenerationRequest(prompt, sampling)).chunks():
                    pass
        self.embedding.warm_up()
        self.locating.warm_up()

    def facts(self) -> dict[str, Any]:
        """Returns the model's entry in the list of models; ``max_model_len`` is vLLM's name of the context length."""
        facts = {"id": self.name, "object": "model", "created": 0, "owned_by": "hilight_jax"}
        sizes = {"max_model_len": self.engine.generator.max_length, "max_videos": self.limits.max_videos}
        able = {"embeds": self.embedding.available, "locates": self.locating.available}
        able |= {"zooms": self.engine.generator.words is not None}
        able["archive"] = self.archive.available
        return facts | sizes | {"video_tokens": self._data.num_video_tokens} | able

    def check_model(self, name: str) -> None:
        """Raises an ``UnknownModel`` unless the name is this model's or empty."""
        if name not in ("", self.name):
            raise UnknownModel(f"there is no model '{name[:100]}'; this server has '{self.name}'.")

    async def submit(self, chat: ChatRequest) -> tuple[AnswerStream, int, list[Moment]]:
        """Submits a conversation; returns the stream of its answer, the tokens of its prompt and the shots it is about.

        A conversation about a single film, a video of more than ``LONG_SECONDS``, is about the shots of it that fit the
        last question.

        Raises:
          UserError: The conversation cannot be answered, or the queue is full.
        """
        prompt, _, moments = await self._prompt(chat)
        stop = (chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ())
        num_alternatives = (chat.top_logprobs or 0) if chat.logprobs else None
        request = GenerationRequest(prompt, self._sampling(chat), stop, num_alternatives)
        return self.engine.submit(request), len(prompt.ids), moments

    async def chunks(
        self, stream: AnswerStream, is_disconnected: Callable[[], Coroutine[Any, Any, bool]], *, only_last: bool
    ) -> AsyncIterator[Chunk]:
        """Yields the chunks of an answer, or ``only_last`` all at its end; cancels it when the client disconnects."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # The loop has ended.
                loop.call_soon_threadsafe(ready.set)

        stream.notify(wake, only_last=only_last)
        try:
            while True:
                for chunk in stream.drain():
                    yield chunk
                    if chunk.finish_reason:
                        return
                try:
                    await asyncio.wait_for(ready.wait(), _POLL_SECONDS)
                except TimeoutError:
                    if await is_disconnected():
                        return
                ready.clear()
        finally:
            stream.cancel()

    async def evidence(self, chat: ChatRequest, answer: str) -> list[tuple[VideoClip, ClipEvidence]]:
        """Traces an answer back to the videos of its conversation.

        Raises:
          UserError: The conversation cannot be read, shows no video, or the answer is empty; or the queue is full.
        """
        generator = self.engine.generator
        prompt, clips, _ = await self._prompt(chat)
        self._check_width([answer])
        answer_ids = np.array(await asyncio.to_thread(generator.tokenizer.encode, answer), np.int32)

        def trace() -> list[ClipEvidence]:
            return trace_answer(generator, prompt.encode(generator.encode_clip), answer_ids)

        traced = await self._queue.run(lambda: asyncio.wrap_future(self.engine.call(trace)))
        return list(zip(clips, traced, strict=True))

    async def _prompt(self, chat: ChatRequest) -> tuple[UnencodedPrompt, list[VideoClip], list[Moment]]:
        """Reads the videos of a conversation and builds its prompt; of a film the shots that fit the last question."""
        self.check_model(chat.model)
        turns, urls = turns_of(chat.messages)
        clips, moments = await self._clips(urls, chat.zoom), []
        if len(urls) == 1 and clips[0].times[-1] > LONG_SECONDS and self.films.available:
            moments, clips = await self._shots(urls[0], last_question(chat.messages), chat)
            marks = VIDEO_MARK * len(clips)
            turns = [turn._replace(text=turn.text.replace(VIDEO_MARK, marks)) for turn in turns]
        return await asyncio.to_thread(self._build_prompt, turns, clips), clips, moments

    async def _shots(self, url: str, question: str, chat: ChatRequest) -> tuple[list[Moment], list[VideoClip]]:
        """The shots of a film that fit a question, the best first, and their clips in the order of time."""
        moments, _ = await self.films.moments(url, question, SHOTS, None)
        played = [moment for moment in moments if moment.piece.kind == "stroke"]
        moments = (played or moments)[: min(chat.shots, self.limits.max_videos)]
        shown = sorted(moments, key=lambda moment: moment.piece.start)
        return moments, [await self.videos.clip(url, moment.seen.numbers, chat.zoom) for moment in shown]

    async def _clips(self, urls: Sequence[str], zoom: Zoom) -> list[VideoClip]:
        """Reads the videos of a conversation; an error names its video where there are several."""
        if len(urls) > self.limits.max_videos:
            raise DataError(
                f"the conversation shows {len(urls)} videos, but may show {self.limits.max_videos}; show fewer."
            )
        clips = []
        for number, url in enumerate(urls, 1):
            try:
                clips.append(await self.videos.clip(url, zoom=zoom))
            except UserError as error:
                if len(urls) == 1:
                    raise
                raise type(error)(f"video {number} of {len(urls)}: {error}") from error
        return clips

    def _build_prompt(self, turns: Sequence[Turn], clips: Sequence[np.ndarray | VideoClip]) -> UnencodedPrompt:
        self._check_width([turn.text for turn in turns])
        return build_prompt(turns, clips, self.engine.generator.tokenizer, self._data)

    def _check_width(self, texts: Sequence[str]) -> None:
        """Refuses texts that are far too long without tokenizing them."""
        width = sum(map(len, texts))
        if width > _MAX_TOKEN_WIDTH * self._data.max_length:
            raise TooLong(
                f"the conversation cannot be answered: its {width:,} characters do not fit into the context of "
                f"{self._data.max_length} tokens; start anew, or ask a shorter question."
            )

    def _sampling(self, chat: ChatRequest) -> SamplingConfig:
        max_new_tokens = chat.max_completion_tokens or chat.max_tokens or self.limits.default_new_tokens
        greedy = (chat.temperature or 0.0) < 1e-4
        return SamplingConfig(
            temperature=0.0 if greedy else chat.temperature,
            top_k=0 if greedy else chat.top_k or 0,
            top_p=1.0 if greedy or chat.top_p is None else chat.top_p,
            max_new_tokens=min(max_new_tokens, self.limits.max_new_tokens),
            stop_ids=() if chat.ignore_eos else None,
            seed=secrets.randbits(32) if chat.seed is None else zlib.crc32(str(chat.seed).encode()),
        )


async def while_connected(
    work: Coroutine[Any, Any, _Result], is_disconnected: Callable[[], Coroutine[Any, Any, bool]]
) -> _Result:
    """Awaits work, and cancels it when the client disconnects.

    Raises:
      Disconnected: The client has left.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_POLL_SECONDS))[0]:
            if await is_disconnected():
                raise Disconnected("the client has left.")
        return task.result()
    finally:
        task.cancel()
