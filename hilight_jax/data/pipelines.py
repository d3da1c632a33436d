"""The order of batches in training and evaluation; each host reads its own rows of every global batch.

A loader (``clips``, ``conversations/loader``) makes the batches. Their endless order is a function of the
seed alone: every epoch is shuffled differently, and epochs are concatenated and cut into global batches. Batch ``s`` is
therefore a function of ``s``, the seed and the batch size; it does not change with hosts, worker processes or restarts,
and only the step needs to be saved. A host reads the rows that its devices hold (``core/host_rows.py``). A loader
receives the places of all rows and the selection of its own: values that all hosts must agree on, such as the length of
padded texts, follow from the places.

Whole batches, not single clips, go through grain: a thread decodes straight into its batch's array, and a worker
process sends few large arrays rather than many small ones.
"""

import collections
import functools
import threading
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Protocol

import grain
import numpy as np
from absl import flags

from hilight_jax.data.config import InputConfig

_EPOCHS = 2**30  # Endless; grain's own endless repetition overflows when it is batched by one and sliced.

Batch = dict[str, np.ndarray]
# The rows of a batch that a host reads, as an index of an array.
Rows = slice | np.ndarray
ALL_ROWS = slice(None)
# Positions of rows in the endless order, and the numbers of their examples.
Places = tuple[np.ndarray, np.ndarray]
_REMEMBERED = 4  # Runs whose order is kept, for the threads that read ahead.


class Loader(Protocol):
    """Makes batches of rows; can be sent to worker processes.

    Every batch has ``index`` int64, [B], the number of the example; ``valid`` bool, [B], True where the row holds one;
    ``replaced`` bool, [B], True where it holds a stand-in; and ``truncated`` bool, [B], True where its text was cut.
    """

    def train_batch(self, places: Places, rows: Rows = ALL_ROWS) -> Batch:
        """Makes this host's ``rows`` of the global batch whose places in the endless order and numbers are given."""
        ...

    def lengths(self, places: Places) -> np.ndarray:
        """Estimates the lengths of the rows of ``train_batch``, where the input has a ``length_group``."""
        ...

    def eval_batch(self, indices: np.ndarray, rows: Rows = ALL_ROWS) -> Batch:
        """Makes this host's ``rows`` of the examples with these numbers; those past the end give rows not ``valid``."""
        ...


def empty_rows(size: int) -> Batch:
    """Returns the entries that every batch has: ``index`` -1, and False for ``valid``, ``replaced``, ``truncated``."""
    flags = {name: np.zeros(size, bool) for name in ("valid", "replaced", "truncated")}
    return {"index": np.full(size, -1, np.int64), **flags}


class Pipeline:
    """Batches of one source."""

    def __init__(self, config: InputConfig, source: Sized, loader: Loader, seed: int = 0):
        """Stores a source, the loader of its examples and the seed of their order."""
        self.config, self.source, self.loader, self.seed = config, source, loader, seed

    def batches(self, batch_size: int, start_step: int = 0, rows: Rows = ALL_ROWS) -> "Batches":
        """Returns this host's ``rows`` of the endless training batches, from that of step ``start_step`` on.

        ``batch_size`` counts the rows of the global batch.
        """
        places = (
            grain.MapDataset.range(len(self.source)).seed(self.seed).shuffle().repeat(_EPOCHS).map_with_index(_placed)
        )
        group = getattr(self.config, "length_group", 1)
        if group > 1:
            runs = LengthGroups(places.batch(batch_size * group), self.loader.lengths, group, self.seed)
            batches = grain.MapDataset.range(_EPOCHS).map(runs)
        else:
            batches = places.batch(batch_size)
        load = functools.partial(self.loader.train_batch, rows=rows)
        return Batches(self._prefetched(batches[start_step:].map(load)), start_step)

    def eval_batches(self, batch_size: int, rows: Rows = ALL_ROWS) -> "Batches":
        """Returns every example once, in order, or of every batch the ``rows`` of this host.

        Rows that fill up the last batch have ``index`` -1. They, and examples that are of no use, have ``valid`` False.
        """
        num_batches = -(-len(self.source) // batch_size)
        indices = grain.MapDataset.range(num_batches * batch_size).batch(batch_size)
        return Batches(self._prefetched(indices.map(functools.partial(self.loader.eval_batch, rows=rows))))

    def _prefetched(self, batches: grain.MapDataset) -> grain.IterDataset:
        """Adds threads and worker processes, neither of which changes the order."""
        config = self.config
        options = grain.ReadOptions(
            num_threads=min(config.num_threads, config.read_ahead), prefetch_buffer_size=config.read_ahead
        )
        prefetched = batches.to_iter_dataset(options)
        if not config.num_workers:
            return prefetched
        if not flags.FLAGS.is_parsed():  # grain hands absl's flags to its workers.
            flags.FLAGS.mark_as_parsed()
        workers = grain.MultiprocessingOptions(num_workers=config.num_workers, per_worker_buffer_size=1)
        return prefetched.mp_prefetch(workers)


class Batches(Iterator[Batch]):
    """An iterator of batches. Close it when done: it may own worker processes.

    Attributes:
      step: Number of the next batch: the ``start_step`` to resume from.
    """

    def __init__(self, dataset: grain.IterDataset, step: int = 0):
        """Starts reading ``dataset``, whose first batch is number ``step``."""
        self._iterator = iter(dataset)
        self.step = step

    def __next__(self) -> Batch:
        """Returns the next batch."""
        batch = next(self._iterator)
        self.step += 1
        return batch

    def close(self) -> None:
        """Stops reading ahead and ends worker processes."""
        self._iterator.close()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class LengthGroups:
    """Batches of examples of similar length, so that padding is short, by number; can be sent to worker processes.

    Runs of ``group`` global batches are taken together, sorted by length, and cut again; the new batches of a run come
    in an order drawn from the seed, so that no run goes from short to long. The original sorts its "megabatches" by
    word count to the same end.
    """

    def __init__(self, runs: Sequence[Places], lengths: Callable[[Places], np.ndarray], group: int, seed: int):
        """Wraps the places of runs of ``group`` batches; ``seed`` orders the new batches."""
        self._runs, self._lengths, self._group, self._seed = runs, lengths, group, seed
        self._orders: collections.OrderedDict[int, np.ndarray] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, step: int) -> Places:
        """Returns the places of batch ``step``."""
        number, part = divmod(int(step), self._group)
        places = self._runs[number]
        with self._lock:
            if number not in self._orders:
                self._orders[number] = np.argsort(self._lengths(places), kind="stable")
                while len(self._orders) > _REMEMBERED:
                    self._orders.popitem(last=False)
            order = self._orders[number]
        part = np.random.default_rng((self._seed, number)).permutation(self._group)[part]
        rows = np.split(order, self._group)[part]
        return tuple(x[rows] for x in places)

    def __getstate__(self) -> dict:
        """Leaves out the lock, which cannot be sent, and the cached orders."""
        return {"arguments": (self._runs, self._lengths, self._group, self._seed)}

    def __setstate__(self, state: dict) -> None:
        self.__init__(*state["arguments"])


def _placed(position: int, index: int) -> tuple[int, int]:
    return position, index
