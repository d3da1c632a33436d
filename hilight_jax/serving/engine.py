"""Many conversations at once on one model: requests come and go while others are being answered.

A thread of its own owns the model. Between two tokens of the running answers it takes in waiting requests, as many as
there are free rows, and lets go of those whose client has left. What an answer says does not depend on its neighbours.
"""

import collections
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Literal

import numpy as np
from jaxtyping import Array, Key

from hilight_jax.core.errors import UserError
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.prompt import Prompt
from hilight_jax.generation.sampling import SamplingConfig, row_keys, sample_rows
from hilight_jax.generation.streaming import StopStrings, TextStream
from hilight_jax.serving.admission import Busy
from hilight_jax.serving.slots import Slots

_FAILED = "the model failed on this request; the server's log says why."
_CLOSED = "the server is shutting down; ask another one, or later."
FinishReason = Literal["stop", "length", "cancelled", "refused", "failed"]


class Closed(UserError):
    """The engine takes nothing more: it is shutting down."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """A clip of a request, as ``ClipEncoder`` takes it.

    Attributes:
      frames: [F, Y, X, C].
      key_frames: int [keys].
    """

    frames: np.ndarray
    key_frames: np.ndarray


@dataclasses.dataclass(frozen=True)
class Request:
    """What a client asks.

    Attributes:
      ids: int32 [n], expanded.
      clips: Its clips, in the order of their rows.
      sampling: How the answer is chosen.
      stop: Strings before which the answer ends, should it come to one.
    """

    ids: np.ndarray
    clips: tuple[Shown, ...] = ()
    sampling: SamplingConfig = SamplingConfig()
    stop: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Piece:
    """A further piece of an answer.

    Attributes:
      text: What was said since the last one; may be empty in the last one.
      num_tokens: Tokens of the answer so far.
      finish_reason: Set in the last piece: ``stop`` for an end of its own, ``length`` where it was cut, ``cancelled``
        when the client left, ``refused`` where the request cannot be answered, ``failed`` where the model could not.
      error: A sentence about why it was refused or failed.
    """

    text: str
    num_tokens: int
    finish_reason: FinishReason | None = None
    error: str = ""


class Ticket:
    """A request in the engine: its pieces as they come.

    Attributes:
      request: What was asked.
      prompt: As the model read it, once it has.
      began: When it was put in line, by the monotonic clock.
      first: When its first token was chosen, if it was.
    """

    def __init__(self, request: Request):
        """Waits for its first piece."""
        self.request = request
        self.prompt: Prompt | None = None
        self.began = time.monotonic()
        self.first: float | None = None
        self._pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._told: Callable[[], Any] | None = None
        self._only_last = False

    def pieces(self, timeout: float | None = None) -> Iterator[Piece]:
        """The pieces in order, the last one with its ``finish_reason``.

        Raises:
          queue.Empty: None came for ``timeout`` seconds.
        """
        while True:
            piece = self._pieces.get(timeout=timeout)
            yield piece
            if piece.finish_reason:
                return

    def take(self) -> list[Piece]:
        """The pieces that have come since the last time."""
        return [self._pieces.get_nowait() for _ in range(self._pieces.qsize())]

    def listen(self, told: Callable[[], Any], *, only_last: bool = False) -> None:
        """Has the engine's thread call ``told``, which must be quick, after every piece or after the last one only."""
        self._told, self._only_last = told, only_last

    def cancel(self) -> None:
        """Tells the engine that nobody listens any more."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether nobody listens any more."""
        return self._cancelled.is_set()

    def put(self, piece: Piece) -> None:
        """For the engine: gives out a piece."""
        self._pieces.put(piece)
        if self._told is not None and (piece.finish_reason or not self._only_last):
            self._told()


class Engine:
    """A model that answers several requests at a time.

    Attributes:
      finished: Is called, quickly and in the engine's thread, with every request that has ended and its last piece.
    """

    def __init__(self, generator: Generator, num_slots: int = 8, max_waiting: int = 64):
        """Starts the thread.

        Args:
          generator: The model; nobody else may use it meanwhile.
          num_slots: Answers in progress at most.
          max_waiting: Requests that may wait for a slot.
        """
        self.generator, self.num_slots, self.max_waiting = generator, num_slots, max_waiting
        self.finished: Callable[[Ticket, Piece], Any] = lambda ticket, piece: None
        self._slots = Slots(generator.language_model, num_slots, generator.max_length)
        self._rows: dict[int, _Row] = {}
        self._no_key = row_keys(SamplingConfig(), [np.zeros(1, np.int32)])
        self._waiting: collections.deque[Ticket] = collections.deque()
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._wake = threading.Condition()
        self._closing, self._dropping, self._closed = False, False, _CLOSED
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        """Requests that wait for a slot."""
        return sum(not ticket.cancelled for ticket in list(self._waiting))

    @property
    def num_running(self) -> int:
        """Answers in progress."""
        return len(self._rows)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(self, request: Request) -> Ticket:
        """Puts a request in line.

        Raises:
          Busy: The line is full.
          Closed: The engine is shutting down.
        """
        ticket = Ticket(request)
        with self._wake:
            if self._closing:
                raise Closed(self._closed)
            if self.num_waiting >= self.max_waiting:
                raise Busy(
                    f"{self.max_waiting} requests wait already, and {self.num_running} are being answered; try again "
                    f"in some seconds."
                )
            self._waiting.append(ticket)
            self._wake.notify()
        return ticket

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Lets the engine's thread, which owns the model, do something between two tokens.

        Raises:
          Closed: The engine is shutting down.
        """
        done: Future[Any] = Future()
        with self._wake:
            if self._closing:
                raise Closed(self._closed)
            self._calls.put((work, done))
            self._wake.notify()
        return done

    def close(self, grace: float | None = None) -> None:
        """Takes nothing more, finishes what runs and waits, and ends.

        Args:
          grace: Seconds after which what is not finished is cancelled; None waits as long as it takes.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(grace)
        if self._thread.is_alive():
            self._dropping = True
            self._thread.join()

    def _run(self) -> None:
        """The thread: whatever ends it, nobody waits for an answer that does not come."""
        try:
            while self._has_work():
                try:
                    self._work()
                except Exception:  # Such as too little memory for a longer cache: what was in it is lost.
                    logging.exception("the answers in progress are given up")
                    self._drop_rows("failed", _FAILED)
                    self._slots = Slots(self.generator.language_model, self.num_slots, self.generator.max_length)
        except BaseException:
            self._closed = "the model has stopped; the server's log says why."
            raise
        finally:
            with self._wake:
                self._closing = True
            self._drop("failed", self._closed)

    def _has_work(self) -> bool:
        """Waits for some; there is none any more when it is closing and all is done."""
        with self._wake:
            while not (self._rows or self._waiting or not self._calls.empty() or self._closing):
                self._wake.wait()
            return bool(self._rows or self._waiting or not self._calls.empty())

    def _work(self) -> None:
        """What stands between two tokens, and the next one."""
        if self._dropping:
            self._drop()
            return
        self._let_go()
        while not self._calls.empty():
            self._do(*self._calls.get_nowait())
        while self._slots.free and self._waiting:
            self._take_in(self._waiting.popleft())
        if self._rows:
            self._step()

    def _do(self, work: Callable[[], Any], done: Future[Any]) -> None:
        if done.set_running_or_notify_cancel():
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - whatever it was, it is the asker's: the model goes on.
                done.set_exception(error)

    def _take_in(self, ticket: Ticket) -> None:
        """Reads a request's prompt and gives it a row, with its first token."""
        if ticket.cancelled:
            self._finish(ticket, Piece("", 0, "cancelled"))
            return
        request, generator = ticket.request, self.generator
        try:
            clips = tuple(generator.encode_clip(clip.frames, clip.key_frames) for clip in request.clips)
            ticket.prompt = prompt = Prompt(request.ids, clips)
            generator.check([prompt], request.sampling)
            logits, cache, length = generator.read_prompt(prompt)
        except UserError as error:
            self._finish(ticket, Piece("", 0, "refused", str(error)))
            return
        except Exception:  # Such as too little memory for this prompt; the others' answers are not touched.
            logging.exception("a request failed")
            self._finish(ticket, Piece("", 0, "failed", _FAILED))
            return
        try:
            # A greedy row's key is not looked at; making one takes longer than a step of a small model.
            keys = row_keys(request.sampling, [prompt.ids]) if request.sampling.temperature else self._no_key
            row = _Row(ticket, generator, prompt, keys)
            token = int(sample_rows(logits, [row.keys], [0], [request.sampling])[0])
            number = self._slots.begin(cache, length, len(prompt.ids))
        except Exception:
            self._finish(ticket, Piece("", 0, "failed", _FAILED))
            raise
        self._rows[number] = row
        ticket.first = time.monotonic()
        self._give(number, token)

    def _step(self) -> None:
        """One more token of every row."""
        ids = np.zeros(self.num_slots, np.int32)
        steps, configs = [0] * self.num_slots, [SamplingConfig()] * self.num_slots
        keys = [self._no_key] * self.num_slots
        for number, row in self._rows.items():
            ids[number], steps[number] = row.last, row.count
            configs[number], keys[number] = row.ticket.request.sampling, row.keys
        chosen = sample_rows(self._slots.step(ids), keys, steps, configs)
        tokens = np.asarray(chosen).tolist()
        for number in list(self._rows):
            self._give(number, tokens[number])

    def _give(self, number: int, token: int) -> None:
        """Takes a token of a row, and ends the row where the answer ends."""
        row = self._rows[number]
        piece = row.take(token)
        if piece.finish_reason:
            self._release(number, piece)
        elif piece.text:
            row.ticket.put(piece)

    def _let_go(self) -> None:
        """Frees the rows and the places in line of clients that have left."""
        for ticket in [ticket for ticket in list(self._waiting) if ticket.cancelled]:
            self._waiting.remove(ticket)
            self._finish(ticket, Piece("", 0, "cancelled"))
        for number in [number for number, row in self._rows.items() if row.ticket.cancelled]:
            self._release(number, Piece("", self._rows[number].count, "cancelled"))

    def _drop(self, reason: FinishReason = "cancelled", error: str = "") -> None:
        """Ends everything."""
        self._drop_rows(reason, error)
        while self._waiting:
            self._finish(self._waiting.popleft(), Piece("", 0, reason, error))
        while not self._calls.empty():
            _, done = self._calls.get_nowait()
            if done.set_running_or_notify_cancel():
                done.set_exception(Closed(error or _CLOSED))

    def _drop_rows(self, reason: FinishReason, error: str) -> None:
        for number in list(self._rows):
            self._release(number, Piece("", self._rows[number].count, reason, error))

    def _release(self, number: int, piece: Piece) -> None:
        row = self._rows.pop(number)
        self._slots.end(number)
        self._finish(row.ticket, piece)

    def _finish(self, ticket: Ticket, piece: Piece) -> None:
        self.finished(ticket, piece)
        ticket.put(piece)


class _Row:
    """One answer as it grows."""

    def __init__(self, ticket: Ticket, generator: Generator, prompt: Prompt, keys: Key[Array, "1"]):
        sampling = ticket.request.sampling
        self.ticket, self.keys, self.last, self.count = ticket, keys, 0, 0
        self._budget = min(sampling.max_new_tokens, generator.max_length - len(prompt.ids))
        self._stop_ids = sampling.stops(generator.tokenizer.stop_ids)
        self._stream, self._stops = TextStream(generator.tokenizer), StopStrings(ticket.request.stop)

    def take(self, token: int) -> Piece:
        """The next token; the piece that it makes."""
        ended = token in self._stop_ids
        if not ended:
            self.last, self.count = token, self.count + 1
        cut = not ended and self.count == self._budget
        text = "" if ended else self._stream.push(token)
        if ended or cut:
            text += self._stream.finish()
        text = self._stops.push(text)
        if self._stops.met:
            return Piece(text, self.count, "stop")
        if ended or cut:
            return Piece(text + self._stops.finish(), self.count, "stop" if ended else "length")
        return Piece(text, self.count)
