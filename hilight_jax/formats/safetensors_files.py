"""Reads safetensors files: names, shapes and dtypes at once, values when they are needed."""

from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read_safetensors(path: Path) -> dict[str, LazyArray]:
    """The arrays of a file; each ``read`` opens it anew, so that what was read does not stay in memory.

    Raises:
      CheckpointError: It is no safetensors file, is cut off, or holds a dtype that is not known here.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: _lazy(path, name, file.get_slice(name)) for name in file.keys()}
    except SafetensorError as error:
        raise CheckpointError(
            f"'{path}' is no whole safetensors file ({error}); it was cut off or is something else: copy or download "
            f"it again."
        ) from error


def _lazy(path: Path, name: str, described: object) -> LazyArray:
    kind = described.get_dtype()
    if kind not in _DTYPES:
        raise CheckpointError(
            f"'{name}' in '{path}' has the dtype {kind}, but weights may be {', '.join(_DTYPES)}; convert it first."
        )

    def read() -> np.ndarray:
        try:
            with safe_open(path, framework="numpy") as file:
                return file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"'{name}' in '{path}' cannot be read any more: {error}.") from error

    return LazyArray(described.get_shape(), _DTYPES[kind], read)
