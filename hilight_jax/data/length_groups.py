"""Batches of conversations of similar length, so that padding is short.

Runs of ``group`` global batches are taken together, sorted by length, and cut again; the new batches of a run come in
an order drawn from the seed, lest every run go from short to long. Which rows a batch holds stays a function of its
number, the seed and the batch size alone. The original sorts its "megabatches" by word count to the same end.
"""

import collections
import threading
from collections.abc import Callable, Sequence

import numpy as np

Places = tuple[np.ndarray, np.ndarray]
_REMEMBERED = 4  # Runs whose order is kept, for the threads that read ahead.


class LengthGroups:
    """Gives the places of a batch's rows by the number of the batch; can be sent to worker processes."""

    def __init__(self, runs: Sequence[Places], lengths: Callable[[Places], np.ndarray], group: int, seed: int):
        """Wraps places that come run by run.

        Args:
          runs: Positions in the endless order and numbers of the examples, of ``group`` batches at a time.
          lengths: The length of every example at some places.
          group: Batches of a run.
          seed: Draws the order of the new batches.
        """
        self._runs, self._lengths, self._group, self._seed = runs, lengths, group, seed
        self._orders: collections.OrderedDict[int, np.ndarray] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, step: int) -> Places:
        """The places of batch ``step``."""
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
        """A lock does not travel; nor need what is remembered."""
        return {"arguments": (self._runs, self._lengths, self._group, self._seed)}

    def __setstate__(self, state: dict) -> None:
        self.__init__(*state["arguments"])
