"""Safetensors files: read with names, shapes and dtypes at once and values when needed, written in shards of a size."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hilight_jax.core.atomic_files import write_object
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
# The metadata that transformers writes, and that some of its versions require.
_METADATA = {"format": "pt"}
SHARD_BYTES = 10**9


def read_safetensors(path: Path) -> dict[str, LazyArray]:
    """The arrays of a file; each ``read`` opens it anew, so that no array stays in memory.

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


def _lazy(path: Path, name: str, described: Any) -> LazyArray:
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


def write_shards(
    directory: Path, weights: Mapping[str, Any], name: str = "model", shard_bytes: int = SHARD_BYTES
) -> dict[str, str]:
    """Writes ``<name>.safetensors``, or ``<name>-00001-of-0000N.safetensors`` ... and their index.

    Arrays are read in the order of ``weights``, each once, and held until their file is full.

    No file is larger than ``shard_bytes``, unless it holds a single array.

    Returns:
      The file of every name.
    """
    groups = list(_groups(weights, shard_bytes))
    names = [
        f"{name}.safetensors" if len(groups) == 1 else f"{name}-{i:05}-of-{len(groups):05}.safetensors"
        for i in range(1, len(groups) + 1)
    ]
    places: dict[str, str] = {}
    for file, group in zip(names, groups, strict=True):
        write_safetensors(directory / file, {key: weights[key] for key in group})
        places |= dict.fromkeys(group, file)
    if len(groups) > 1:
        write_index(directory / f"{name}.safetensors.index.json", places, weights)
    return places


def write_safetensors(path: Path, weights: Mapping[str, Any]) -> None:
    """Writes one file, with the permissions of other new files; the library alone would keep others from reading it."""
    path.touch()
    mode = path.stat().st_mode
    save_file({name: np.asarray(x, order="C") for name, x in weights.items()}, path, _METADATA)
    path.chmod(mode)


def write_index(path: Path, places: Mapping[str, str], weights: Mapping[str, Any]) -> None:
    """Writes the index: the file of every name."""
    total = sum(weights[key].nbytes for key in places)
    write_object(path, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})


def _groups(weights: Mapping[str, Any], shard_bytes: int) -> Iterator[list[str]]:
    """Cuts names into groups that fit a file."""
    group: list[str] = []
    size = 0
    for name, x in weights.items():
        if group and size + x.nbytes > shard_bytes:
            yield group
            group, size = [], 0
        group.append(name)
        size += x.nbytes
    if group:
        yield group
