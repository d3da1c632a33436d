"""Weights as safetensors files, one of them or as many as they need, written without ever holding them all."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from hilight_jax.core.atomic_files import write_object

# What transformers writes as metadata, and what some of its versions ask for.
_METADATA = {"format": "pt"}
SHARD_BYTES = 10**9


def write_shards(
    directory: Path, weights: Mapping[str, Any], name: str = "model", shard_bytes: int = SHARD_BYTES
) -> dict[str, str]:
    """Writes ``<name>.safetensors``, or ``<name>-00001-of-0000N.safetensors`` ... and their index.

    Arrays are read in the order of ``weights``, each once, and held until their file is full.

    Args:
      directory: An existing directory.
      weights: numpy arrays or ``LazyArray`` by name.
      name: What the files are named.
      shard_bytes: A file's largest size, unless it holds a single array.

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
    """Writes one file that, as other files, whoever may read the directory may read; the library alone would not."""
    path.touch()
    mode = path.stat().st_mode
    save_file({name: np.asarray(x, order="C") for name, x in weights.items()}, path, _METADATA)
    path.chmod(mode)


def write_index(path: Path, places: Mapping[str, str], weights: Mapping[str, Any]) -> None:
    """Writes the index that tells which file holds which name."""
    total = sum(np.dtype(weights[key].dtype).itemsize * int(np.prod(weights[key].shape)) for key in places)
    write_object(path, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})


def _groups(weights: Mapping[str, Any], shard_bytes: int) -> Iterator[list[str]]:
    """Cuts names into runs that fit a file."""
    group: list[str] = []
    size = 0
    for name, x in weights.items():
        nbytes = np.dtype(x.dtype).itemsize * int(np.prod(x.shape, dtype=np.int64))
        if group and size + nbytes > shard_bytes:
            yield group
            group, size = [], 0
        group.append(name)
        size += nbytes
    if group:
        yield group
