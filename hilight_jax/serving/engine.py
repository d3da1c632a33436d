"""The engine: many conversations on one model, each request admitted and finished while others are being answered.

A thread of its own owns the model. Between two tokens of the running answers it admits waiting requests into free rows
and evicts those whose clients have left. An answer does not depend on the other rows.
"""

import collections
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
from jaxtyping import Array, Key

from hilight_jax.core.errors import UserError
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.sampling import SamplingConfig, row_keys, sample
from hilight_jax.generation.streaming import AnswerState
from hilight_jax.serving.answer_stream import AnswerStream, Chunk, FinishReason, GenerationRequest
from hilight_jax.serving.log_probs import ScoredToken, score_tokens
from hilight_jax.serving.slots import Slots
from hilight_jax.serving.videos.admission import QueueFull

_FAILED = "the model failed on this request; see the server's log."
_CLOSED = "the server is shutting down; retry later, or on another server."


class Closed(UserError):
    """The engine is shutting down and takes no more requests."""


class Engine:
    """A model that answers several requests at a time.

    Its queue is not an ``AdmissionQueue``, which belongs to one event loop: clients submit from any thread, and the
    engine's thread takes the requests.

    Attributes:
      on_finished: Called in the engine's thread with every finished stream and its last chunk; must be quick.
    """

    def __init__(self, generator: Generator, num_slots: int = 8, max_waiting: int = 64):
        """Starts the thread, which alone may use the model; ``max_waiting`` requests may wait for ``num_slots``."""
        self.generator, self.num_slots, self.max_waiting = generator, num_slots, max_waiting
        self.on_finished: Callable[[AnswerStream, Chunk], Any] = lambda stream, chunk: None
        self._slots = self._new_slots()
        self._rows: dict[int, _Row] = {}
        self._no_key = row_keys(SamplingConfig(), [np.zeros(1, np.int32)])
        self._waiting: collections.deque[AnswerStream] = collections.deque()
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._wake = threading.Condition()
        self._closing, self._aborting, self._closed_message = False, False, _CLOSED
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        """Number of requests that wait for a slot."""
        return sum(not stream.cancelled for stream in list(self._waiting))

    @property
    def num_running(self) -> int:
        """Number of answers in progress."""
        return len(self._rows)

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    def submit(self, request: GenerationRequest) -> AnswerStream:
        """Queues a request and returns the stream of its answer.

        Raises:
          QueueFull: Too many requests wait.
          Closed: The engine is shutting down.
        """
        stream = AnswerStream(request)
        with self._wake:
            if self._closing:
                raise Closed(self._closed_message)
            if self.num_waiting >= self.max_waiting:
                raise QueueFull(
                    f"{self.max_waiting} requests wait already, and {self.num_running} are being answered; try again "
                    f"in some seconds."
                )
            self._waiting.append(stream)
            self._wake.notify()
        return stream

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Calls a function in the engine's thread, which owns the model, between two tokens.

        Raises:
          Closed: The engine is shutting down.
        """
        done: Future[Any] = Future()
        with self._wake:
            if self._closing:
                raise Closed(self._closed_message)
            self._calls.put((work, done))
            self._wake.notify()
        return done

    def close(self, grace: float | None = None) -> None:
        """Refuses new requests, finishes the running and waiting ones, and ends the thread.

        Args:
          grace: Seconds after which unfinished answers are cancelled; None waits without a limit.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(grace)
        if self._thread.is_alive():
            self._aborting = True
            self._thread.join()

    def _run(self) -> None:
        """Works until the engine closes; however the thread ends, every stream gets its last chunk."""
        try:
            while self._has_work():
                try:
                    self._work()
                except Exception:  # For example too little memory for a longer cache; its content is lost.
                    logging.exception("the answers in progress have failed")
                    self._abort_running("failed", _FAILED)
                    self._slots = self._new_slots()
        except BaseException:
            self._closed_message = "the model has stopped; see the server's log."
            raise
        finally:
            with self._wake:
                self._closing = True
            self._abort_all("failed", self._closed_message)

    def _has_work(self) -> bool:
        """Waits for work; returns False when the engine is closing and all work is done."""
        with self._wake:
            while not (self._rows or self._waiting or not self._calls.empty() or self._closing):
                self._wake.wait()
            return bool(self._rows or self._waiting or not self._calls.empty())

    def _work(self) -> None:
        """Evicts, runs calls, admits, and computes the next token of every row."""
        if self._aborting:
            self._abort_all()
            return
        self._evict_cancelled()
        while not self._calls.empty():
            self._run_call(*self._calls.get_nowait())
        while self._slots.free and self._waiting:
            self._admit(self._waiting.popleft())
        if self._rows:
            self._step()

    def _run_call(self, work: Callable[[], Any], done: Future[Any]) -> None:
        if done.set_running_or_notify_cancel():
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - the caller gets every error, and the engine goes on.
                done.set_exception(error)

    def _new_slots(self) -> Slots:
        return Slots(self.generator.language_model, self.num_slots, self.generator.max_length)

    def _admit(self, stream: AnswerStream) -> None:
        """Reads a request's prompt, gives it a row and chooses its first token."""
        if stream.cancelled:
            self._finish(stream, Chunk("", 0, "cancelled"))
            return
        request, generator = stream.request, self.generator
        try:
            stream.prompt = prompt = request.prompt.encode(generator.encode_clip)
            generator.check([prompt], request.sampling)
            logits, cache, length = generator.read_prompt(prompt)
        except UserError as error:
            self._finish(stream, Chunk("", 0, "refused", str(error)))
            return
        except Exception:  # For example too little memory for this prompt; other answers are not affected.
            logging.exception("a request failed")
            self._finish(stream, Chunk("", 0, "failed", _FAILED))
            return
        try:
            # A greedy row needs no key, and making one takes longer than a step of a small model.
            keys = row_keys(request.sampling, [prompt.ids]) if request.sampling.temperature else self._no_key
            answer = generator.begin_answer(prompt, request.sampling, request.stop)
            ids = sample(logits, [keys], [0], [request.sampling])
            (scored,) = score_tokens(logits, ids, generator.confidence_temperature, [request.num_alternatives])
            number = self._slots.begin(cache, length, len(prompt.ids))
        except Exception:
            self._finish(stream, Chunk("", 0, "failed", _FAILED))
            raise
        self._rows[number] = _Row(stream, answer, keys)
        stream.first_token_at = time.monotonic()
        self._push(number, int(ids[0]), scored)

    def _step(self) -> None:
        """Computes one more token of every row."""
        ids = np.zeros(self.num_slots, np.int32)
        steps, configs = [0] * self.num_slots, [SamplingConfig()] * self.num_slots
        keys = [self._no_key] * self.num_slots
        wanted: list[int | None] = [None] * self.num_slots
        for number, row in self._rows.items():
            ids[number], steps[number] = row.answer.ids[-1], len(row.answer.ids)
            configs[number], keys[number] = row.stream.request.sampling, row.keys
            wanted[number] = row.stream.request.num_alternatives
        logits = self._slots.step(ids)
        chosen = sample(logits, keys, steps, configs)
        scored = score_tokens(logits, chosen, self.generator.confidence_temperature, wanted)
        tokens = np.asarray(chosen).tolist()
        for number in list(self._rows):
            self._push(number, tokens[number], scored[number])

    def _push(self, number: int, token: int, scored: ScoredToken | None) -> None:
        """Adds a token to a row's answer, and frees the row at the answer's end."""
        row = self._rows[number]
        text = row.answer.push(token)
        row.scored += [] if scored is None else [scored]
        chunk = Chunk(text, len(row.answer.ids), row.answer.finish_reason, tokens=tuple(row.scored))
        if chunk.finish_reason:
            self._release(number, chunk)
        elif text:
            row.stream.put(chunk)
            row.scored.clear()

    def _evict_cancelled(self) -> None:
        """Frees the rows and the waiting places of cancelled requests."""
        for stream in [stream for stream in list(self._waiting) if stream.cancelled]:
            self._waiting.remove(stream)
            self._finish(stream, Chunk("", 0, "cancelled"))
        for number in [number for number, row in self._rows.items() if row.stream.cancelled]:
            self._abort(number, "cancelled")

    def _abort_all(self, reason: FinishReason = "cancelled", error: str = "") -> None:
        """Ends all running and waiting requests and all calls."""
        self._abort_running(reason, error)
        while self._waiting:
            self._finish(self._waiting.popleft(), Chunk("", 0, reason, error))
        while not self._calls.empty():
            _, done = self._calls.get_nowait()
            if done.set_running_or_notify_cancel():
                done.set_exception(Closed(error or _CLOSED))

    def _abort_running(self, reason: FinishReason, error: str) -> None:
        for number in list(self._rows):
            self._abort(number, reason, error)

    def _abort(self, number: int, reason: FinishReason, error: str = "") -> None:
        self._release(number, Chunk("", len(self._rows[number].answer.ids), reason, error))

    def _release(self, number: int, chunk: Chunk) -> None:
        row = self._rows.pop(number)
        self._slots.end(number)
        self._finish(row.stream, chunk)

    def _finish(self, stream: AnswerStream, chunk: Chunk) -> None:
        self.on_finished(stream, chunk)
        stream.put(chunk)


@dataclasses.dataclass
class _Row:
    """A running answer."""

    stream: AnswerStream
    answer: AnswerState
    keys: Key[Array, "1"]
    scored: list[ScoredToken] = dataclasses.field(default_factory=list)  # Since the last chunk.
