"""Fills an index: films are read in processes, their pieces encoded in batches, and whole films committed.

An interrupted run is started again: the films that are committed are left out, the others are read from the beginning.
The rows do not depend on it, on the number of processes or on the order of the films: a piece's vector depends on its
frames alone, because the encoder always runs on batches of one size.
"""

import contextlib
import dataclasses
import os
import resource
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from hilight_jax.archive.film_reader import FilmRead, FilmReader, Position
from hilight_jax.archive.films import Film
from hilight_jax.archive.store import FilmRows, IndexedFilm, Store
from hilight_jax.core.progress import Progress
from hilight_jax.data.films.reader import PieceReader, ReadPiece
from hilight_jax.data.timed_workers import Outcome, stream_timed

# Frames uint8 [B, F, y, x, 3] -> unit vectors [B, E].
Encode = Callable[[np.ndarray], np.ndarray]
_COMMIT_SECONDS = 20.0
_COMMIT_PIECES = 8192


class Plan(NamedTuple):
    """The films of a run by what is to be done with them.

    Attributes:
      new: Films that the index does not hold.
      changed: Films whose file has changed.
      done: Films that the index holds.
      known_bad: Films of which nothing could be read before, and which have not changed.
      listed: Paths in the index's list of unreadable films.
    """

    new: list[Film]
    changed: list[Film]
    done: list[Film]
    known_bad: list[Film]
    listed: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Effort:
    """The means of a run.

    Attributes:
      workers: Processes that read films.
      time_limit: Seconds after which a process that has not read on is given up.
      batch_size: B, pieces that are encoded at a time.
      commit_seconds: Seconds between two commits.
    """

    workers: int
    time_limit: float
    batch_size: int = 16
    commit_seconds: float = _COMMIT_SECONDS


@dataclasses.dataclass
class Tally:
    """The counts of a run.

    Attributes:
      films: Films that were committed.
      replaced: Those of them that replaced an earlier version.
      pieces: Their pieces.
      seconds: Their length.
      same: Films whose content has not changed, only their time.
      problems: Sentences about damaged films, by path.
      changing: Films that were written while they were read; they are left for the next run.
      elapsed: Seconds that the run took.
      cpu_seconds: Seconds of all cores that its processes took.
    """

    films: int = 0
    replaced: int = 0
    pieces: int = 0
    seconds: float = 0.0
    same: int = 0
    problems: dict[str, str] = dataclasses.field(default_factory=dict)
    changing: list[str] = dataclasses.field(default_factory=list)
    elapsed: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def times_real_time(self) -> float:
        """Seconds of film a second."""
        return self.seconds / max(self.elapsed, 1e-9)


def make_plan(store: Store, films: Iterable[Film], retry: bool = False) -> Plan:
    """Compares films with those of an index; with ``retry`` films that could not be read are tried again."""
    held, unreadable = store.films(), store.unreadable()
    plan = Plan([], [], [], [], frozenset(unreadable))
    mended = []
    for film in films:
        known, bad = held.get(film.path), unreadable.get(film.path)
        if known is not None and known.stamp == film.stamp and not film.fault:
            plan.done.append(film)
            mended += [film.path] if bad else []  # The run was killed between its commit and this.
        elif bad is not None and bad.stamp == film.stamp and not retry:
            plan.known_bad.append(film)
        elif known is not None:
            plan.changed.append(dataclasses.replace(film, known_hash=known.hash))
        else:
            plan.new.append(film)
    store.forget_unreadable(mended)
    return plan


def fill(
    store: Store, plan: Plan, encode: Encode, effort: Effort, stopping: Callable[[], bool] = lambda: False
) -> Tally:
    """Reads, encodes and commits the new and the changed films of a plan.

    Args:
      store: The index.
      plan: Of ``make_plan``.
      encode: Embeds a batch of ``effort.batch_size`` pieces.
      effort: Processes and limits.
      stopping: Asked now and then; the films that have ended are committed and the others left when it returns True.

    Raises:
      UserError: The index cannot be written; what is committed stays.
    """
    films = sorted([*plan.new, *plan.changed], key=lambda film: -film.size)  # Long films first: they end together.
    filling = _Filling(store, plan, encode, effort)
    threads = max(1, effort.workers // max(1, len(films)))
    reader = FilmReader(PieceReader(store.about.rule, store.about.num_frames, store.about.image_size, threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # Of the processes: their small products gain nothing by more.
    for film in films:
        if film.fault:
            filling.refuse(film)
    readable = [film for film in films if not film.fault]
    with contextlib.closing(stream_timed(reader, readable, effort.workers, effort.time_limit)) as events:
        for event in events:
            if isinstance(event, Outcome):
                filling.end(event.item, event.result, event.failure)
            else:
                filling.take(event.item, event.value)
            if stopping():
                break
    filling.commit()
    return filling.close()


@dataclasses.dataclass
class _OpenFilm:
    """A film that is being read."""

    film: Film
    pieces: list[ReadPiece] = dataclasses.field(default_factory=list)
    vectors: list[np.ndarray] = dataclasses.field(default_factory=list)
    read: FilmRead | None = None
    failure: str = ""
    share: float = 0.0


class _Filling:
    """The state of one run: films that are read, pieces that wait for the encoder, films that wait for a commit."""

    def __init__(self, store: Store, plan: Plan, encode: Encode, effort: Effort):
        self._store, self._encode, self._effort = store, encode, effort
        self._changed, self._listed = frozenset(film.path for film in plan.changed), plan.listed
        self._open: dict[str, _OpenFilm] = {}
        self._waiting: list[tuple[_OpenFilm, np.ndarray]] = []
        self._ended: list[_OpenFilm] = []
        self._bad: dict[str, IndexedFilm] = {}
        self._tally = Tally()
        self._began = self._committed = time.monotonic()
        self._cpu_began = _cpu_seconds()
        self._read_seconds = 0.0
        megabytes = max(1, round(sum(film.size for film in (*plan.new, *plan.changed) if film.size > 0) / 1e6))
        self._progress = Progress(megabytes, "indexing", "MB")
        self._bytes, self._shown = 0.0, 0

    def take(self, film: Film, part: ReadPiece | Position) -> None:
        """Takes what a process has read of a film."""
        one = self._open.setdefault(film.path, _OpenFilm(film))
        if isinstance(part, ReadPiece):
            self._waiting.append((one, part.frames))
            one.pieces.append(part._replace(frames=np.empty(0, np.uint8)))
            self._read_seconds += part.piece.end - part.piece.start
            if len(self._waiting) == self._effort.batch_size:
                self._encode_waiting()
        else:
            self._advance(one, part.share)

    def end(self, film: Film, read: FilmRead | None, failure: str) -> None:
        """Ends a film; commits now and then."""
        one = self._open.pop(film.path, _OpenFilm(film))
        one.read, one.failure = read, failure
        self._ended.append(one)
        self._advance(one, 1.0)
        pieces = sum(len(each.pieces) for each in self._ended)
        if time.monotonic() - self._committed > self._effort.commit_seconds or pieces >= _COMMIT_PIECES:
            self.commit()

    def refuse(self, film: Film) -> None:
        """Lists a file that cannot be a film."""
        self._bad[film.path] = IndexedFilm(film.stamp, "", film.fault)
        self._tally.problems[film.path] = film.fault

    def commit(self) -> None:
        """Encodes what waits, and commits the films that have ended."""
        self._encode_waiting()
        new, replaced = [], []
        for one in self._ended:
            if (rows := self._settle(one)) is not None:
                (replaced if rows.path in self._changed else new).append(rows)
        self._store.add(new, replaced)
        self._store.note_unreadable(self._bad)
        self._store.forget_unreadable([rows.path for rows in (*new, *replaced) if rows.path in self._listed])
        for rows in (*new, *replaced):
            self._tally.films += 1
            self._tally.replaced += rows.path in self._changed
            self._tally.pieces += len(rows.pieces)
            self._tally.seconds += rows.seconds
        self._ended, self._bad, self._committed = [], {}, time.monotonic()

    def close(self) -> Tally:
        """Ends the progress line and returns the counts."""
        self._tally.elapsed = time.monotonic() - self._began
        self._tally.cpu_seconds = _cpu_seconds() - self._cpu_began
        self._progress.close()
        return self._tally

    def _settle(self, one: _OpenFilm) -> FilmRows | None:
        """Decides about a film that has ended: returns its rows if it has any, and lists its problem."""
        film, read = one.film, one.read or FilmRead("", 0.0, ())
        if read.same:
            self._tally.same += 1
            self._store.touch(film.path, film.stamp)
            return None
        if read.changed:
            self._tally.changing.append(film.path)
            return None
        faults = [*read.faults, *([f"{one.failure}."] if one.failure else [])]
        if one.failure or not one.pieces:  # What an earlier run has stored of it stays; --retry reads it again.
            problem = " ".join(faults) or "it holds no piece."
            self._tally.problems[film.path] = problem
            self._bad[film.path] = IndexedFilm(film.stamp, read.hash, problem)
            return None
        seconds = read.seconds or one.pieces[-1].piece.end
        if faults:
            faults.append(f"It is indexed up to {one.pieces[-1].piece.end:.1f} s.")
            self._tally.problems[film.path] = " ".join(faults)
        pieces, strips = [part.piece for part in one.pieces], [part.strip for part in one.pieces]
        return FilmRows(film.path, film.stamp, read.hash, seconds, " ".join(faults), pieces, strips, one.vectors)

    def _encode_waiting(self) -> None:
        """Encodes the waiting pieces, copies of the last of them filling up the batch."""
        if not self._waiting:
            return
        frames = [frames for _, frames in self._waiting]
        frames += frames[-1:] * (self._effort.batch_size - len(frames))
        vectors = np.asarray(self._encode(np.stack(frames)), np.float32)
        for (one, _), vector in zip(self._waiting, vectors, strict=False):
            one.vectors.append(vector)
        self._waiting = []

    def _advance(self, one: _OpenFilm, share: float) -> None:
        """Moves the progress line on to a share of a film."""
        self._bytes += max(share - one.share, 0.0) * max(one.film.size, 0)
        one.share = max(one.share, share)
        megabytes = int(self._bytes / 1e6)
        if megabytes > self._shown:
            rate = self._read_seconds / max(time.monotonic() - self._began, 1e-9)
            damaged = len(self._tally.problems)
            note = f"{rate:.1f} times real time" + (f", {damaged} damaged" if damaged else "")
            self._progress.update(megabytes - self._shown, note)
            self._shown = megabytes


def _cpu_seconds() -> float:
    """Seconds of cores that this process and its ended children took."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)
