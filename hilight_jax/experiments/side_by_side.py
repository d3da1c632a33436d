"""Cells of a table of runs trained side by side, each on processor cores of its own."""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hilight_jax.core.distributed import log
from hilight_jax.core.errors import UserError
from hilight_jax.experiments.run_table import Cell, RunTable


def core_sets(number: int) -> list[set[int]]:
    """Divides the cores that this process may use into sets of equal size; what is left over is not used.

    Raises:
      UserError: There are fewer cores, or the system cannot keep a process on some of them.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UserError("--at_once needs Linux, which can keep a process on its own cores; leave it out here.")
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= number <= len(cores):
        raise UserError(f"--at_once is {number}, but must be from 1 to {len(cores)}, the cores of this machine.")
    size = len(cores) // number
    return [set(cores[i * size : (i + 1) * size]) for i in range(number)]


def train_side_by_side(
    table: RunTable, cells: Sequence[Cell], data_dir: Path, number: int, finished: Callable[[], object]
) -> None:
    """Trains the cells in their order, so many at once; their messages go to ``WORKDIR.log`` beside their runs.

    Args:
      table: The table that they belong to.
      cells: What to train.
      data_dir: Where generated worlds are kept.
      number: Cells at a time.
      finished: Called after every cell, never twice at once.

    Raises:
      UserError: A cell failed, or ``finished`` did. Cells that have begun are finished, no other is begun.
    """
    free = queue.SimpleQueue[set[int]]()
    for cores in core_sets(number):
        free.put(cores)
    lock, stop = threading.Lock(), threading.Event()

    def train(cell: Cell) -> None:
        if stop.is_set():
            return
        cores, began = free.get(), time.monotonic()
        messages = cell.workdir.with_name(f"{cell.workdir.name}.log")
        try:
            messages.parent.mkdir(parents=True, exist_ok=True)
            log(f"== {cell.row}, seed {cell.seed}: begun, messages in {messages}")
            with _on(cores):
                table.train(cell, data_dir, messages)
            with lock:
                log(f"== {cell.row}, seed {cell.seed}: {(time.monotonic() - began) / 60:.0f} min")
                finished()
        except BaseException as error:
            stop.set()
            log(f"== {cell.row}, seed {cell.seed}: failed, {error}")
            raise
        finally:
            free.put(cores)

    with ThreadPoolExecutor(number) as pool:
        runs = [pool.submit(train, cell) for cell in cells]
        try:
            for run in runs:
                run.result()
        except BaseException:  # Ctrl-C too, which the cells that have begun get from the terminal.
            stop.set()
            raise


@contextlib.contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """Keeps this thread, and the processes that it starts, on some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
