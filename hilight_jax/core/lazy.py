"""Arrays that are read when they are needed: 10 GB of weights pass through a machine that never holds them at once."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from hilight_jax.core.errors import UserError


class LazyArray:
    """An array that is known by shape and dtype and made anew by every ``read``.

    ``np.asarray`` reads it too, so what takes numpy arrays takes this.

    Attributes:
      shape: Its shape.
      dtype: Its dtype.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, read: Callable[[], np.ndarray]):
        """Describes an array; ``read`` makes it."""
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._read = read

    def read(self) -> np.ndarray:
        """The array itself.

        Raises:
          ValueError: It came out otherwise than it was described.
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
        """Bytes that it takes once it is read."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def map(self, function: Callable[[np.ndarray], np.ndarray], shape: Sequence[int], dtype: Any = None) -> "LazyArray":
        """What a function will make of it."""
        return LazyArray(shape, dtype or self.dtype, lambda: function(self.read()))

    def astype(self, dtype: Any) -> Self:
        """The same values in another dtype."""
        return self if np.dtype(dtype) == self.dtype else self.map(lambda x: _cast(x, dtype), self.shape, dtype)


def _cast(x: np.ndarray, dtype: Any) -> np.ndarray:
    """The values in another dtype.

    Raises:
      UserError: float16 cannot hold one of them.
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
    """An array as a lazy one; lazy ones stay as they are."""
    return x if isinstance(x, LazyArray) else LazyArray(x.shape, x.dtype, lambda: np.asarray(x))


class Shared:
    """One array that several lazy pieces are cut from: read for the first of them, dropped after the last.

    Pieces must be read each once and one array's after the other, or everything is held at once.
    """

    def __init__(self, whole: LazyArray, uses: int):
        """Cuts ``uses`` pieces from ``whole``."""
        self._whole, self._uses, self._left = whole, uses, uses
        self._held: np.ndarray | None = None

    def piece(self, function: Callable[[np.ndarray], np.ndarray], shape: Sequence[int]) -> LazyArray:
        """The piece that ``function`` cuts."""
        return LazyArray(shape, self._whole.dtype, lambda: self._cut(function))

    def _cut(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        if self._held is None:
            self._held, self._left = self._whole.read(), self._uses
        cut = function(self._held)
        self._left -= 1
        if not self._left:
            self._held = None
        return cut
