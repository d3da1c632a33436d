"""Arrays that are read on demand, so that 10 GB of weights stream through a machine with less memory."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from hilight_jax.core.errors import UserError


class LazyArray:
    """An array with a known shape and dtype, whose values every ``read`` loads again.

    ``np.asarray`` reads it too, so functions of numpy arrays accept it.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, read: Callable[[], np.ndarray]):
        """Describes the array that ``read`` loads."""
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._read = read

    def read(self) -> np.ndarray:
        """Loads the array.

        Raises:
          ValueError: Its shape or dtype is not the described one.
        """
        x = np.asarray(self._read())
        if x.shape != self.shape or x.dtype != self.dtype:
            raise ValueError(f"an array of {self.shape} {self.dtype} was read as {x.shape} {x.dtype}")
        return x

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        x = self.read()
        return x if dtype is None else x.astype(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the loaded array."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def map(self, function: Callable[[np.ndarray], np.ndarray], shape: Sequence[int], dtype: Any = None) -> "LazyArray":
        """Applies ``function`` when the array is read; ``shape`` and ``dtype`` describe the result."""
        return LazyArray(shape, dtype or self.dtype, lambda: function(self.read()))

    def astype(self, dtype: Any) -> Self:
        """Casts the values when the array is read."""
        return self if np.dtype(dtype) == self.dtype else self.map(lambda x: _cast(x, dtype), self.shape, dtype)


def _cast(x: np.ndarray, dtype: Any) -> np.ndarray:
    """Casts an array.

    Raises:
      UserError: A value is too large for float16.
    """
    with np.errstate(over="ignore"):
        y = x.astype(dtype)
    if y.dtype == np.float16 and np.isinf(y).any() and not np.isinf(x).any():
        raise UserError(
            f"a weight of {float(np.abs(x).max()):.3g} does not fit into float16, whose largest number is 65504; use "
            f"bfloat16 or float32."
        )
    return y


def lazy(x: Any) -> LazyArray:
    """Wraps an array as a lazy one; returns a lazy one as it is."""
    return x if isinstance(x, LazyArray) else LazyArray(x.shape, x.dtype, lambda: np.asarray(x))


class Shared:
    """An array that several lazy pieces are cut from: loaded for the first of them, released after the last.

    Read every piece once, and all pieces of one array before those of the next; otherwise several arrays stay loaded.
    """

    def __init__(self, whole: LazyArray, uses: int):
        """Cuts ``uses`` pieces from ``whole``."""
        self._whole, self._uses, self._left = whole, uses, uses
        self._held: np.ndarray | None = None

    def piece(self, function: Callable[[np.ndarray], np.ndarray], shape: Sequence[int]) -> LazyArray:
        """Returns the piece that ``function`` cuts."""
        return LazyArray(shape, self._whole.dtype, lambda: self._cut(function))

    def _cut(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        if self._held is None:
            self._held, self._left = self._whole.read(), self._uses
        cut = function(self._held)
        self._left -= 1
        if not self._left:
            self._held = None
        return cut
