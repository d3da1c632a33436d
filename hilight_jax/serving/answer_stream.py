"""Requests to the engine and the streams of their answers: the engine's thread writes, a client's thread reads."""

import dataclasses
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from hilight_jax.generation.prompt import Prompt, UnencodedPrompt
from hilight_jax.generation.sampling import SamplingConfig
from hilight_jax.serving.log_probs import ScoredToken

FinishReason = Literal["stop", "length", "cancelled", "refused", "failed"]


@dataclasses.dataclass(frozen=True)
class GenerationRequest:
    """A request to the engine.

    Attributes:
      prompt: Token ids and clips.
      sampling: The choice of tokens.
      stop: Strings before which the answer ends.
      num_alternatives: Likely tokens to report with every token's log-probability; None reports no log-probabilities.
    """

    prompt: UnencodedPrompt
    sampling: SamplingConfig = SamplingConfig()
    stop: tuple[str, ...] = ()
    num_alternatives: int | None = None


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A piece of an answer.

    Attributes:
      text: The text since the last chunk; may be empty in the last one.
      num_tokens: Tokens of the answer so far.
      finish_reason: Set in the last chunk: ``stop`` after a stop token or string, ``length`` at the limit,
        ``cancelled`` by the client or at shutdown, ``refused`` for a bad request, ``failed`` for an error of the model.
      error: The reason of ``refused`` and ``failed``, as a sentence.
      tokens: Where the request wants log-probabilities, the tokens since the last chunk, the one that ended the
        answer included.
    """

    text: str
    num_tokens: int
    finish_reason: FinishReason | None = None
    error: str = ""
    tokens: tuple[ScoredToken, ...] = ()


class AnswerStream:
    """The chunks of one request's answer.

    Attributes:
      request: The request.
      prompt: The encoded prompt, once the model has read it.
      submitted_at: Time of submission, by the monotonic clock.
      first_token_at: Time of the first token, if there was one.
      cancelled: True once the answer was cancelled.
    """

    def __init__(self, request: GenerationRequest):
        """Starts without a chunk."""
        self.request = request
        self.prompt: Prompt | None = None
        self.submitted_at = time.monotonic()
        self.first_token_at: float | None = None
        self._chunks: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        self.cancelled = False
        self._callback: Callable[[], Any] | None = None
        self._only_last = False

    def chunks(self, timeout: float | None = None) -> Iterator[Chunk]:
        """Yields the chunks in order, up to the one with a ``finish_reason``.

        Raises:
          queue.Empty: No chunk came for ``timeout`` seconds.
        """
        while True:
            chunk = self._chunks.get(timeout=timeout)
            yield chunk
            if chunk.finish_reason:
                return

    def drain(self) -> list[Chunk]:
        """Returns the chunks since the last call, without waiting."""
        return [self._chunks.get_nowait() for _ in range(self._chunks.qsize())]

    def notify(self, callback: Callable[[], Any], *, only_last: bool = False) -> None:
        """Calls ``callback``, which must be quick, in the engine's thread after every chunk, or the last one only."""
        self._callback, self._only_last = callback, only_last

    def cancel(self) -> None:
        """Lets the engine stop this answer."""
        self.cancelled = True

    def put(self, chunk: Chunk) -> None:
        """Appends a chunk; only the engine calls this."""
        self._chunks.put(chunk)
        if self._callback is not None and (chunk.finish_reason or not self._only_last):
            self._callback()
