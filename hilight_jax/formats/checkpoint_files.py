"""Opens foreign checkpoints: one file, or a directory with an index, in safetensors or torch's formats."""

import dataclasses
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import read_object
from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.formats.safetensors_files import read_safetensors
from hilight_jax.formats.torch_files import read_torch_file
from hilight_jax.formats.torchscript import is_torchscript, read_torchscript

# The names of a directory's weights, in the order in which transformers looks for them.
_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "weights.safetensors",
    "weights.safetensors.index.json",
)
# Configurations that lie beside weights, CLIP-ViP's after its own file's name.
_CONFIGS = ("config.json", "adapter_config.json", "clipvip-vision_config.json")


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A foreign checkpoint, a file or a directory: its arrays by name, not yet read, and all of their files.

    ``config`` is the JSON object that lies beside them, empty where there is none.
    """

    path: Path
    weights: Mapping[str, LazyArray]
    config: Mapping[str, Any]
    files: tuple[Path, ...]


def open_foreign(path: str | Path) -> Foreign:
    """Opens a file or a directory of weights.

    Raises:
      CheckpointError: There is nothing there, it is no checkpoint, or files are missing or cut off.
    """
    path = Path(path)
    if path.is_dir():
        found = next((path / name for name in _NAMES if (path / name).is_file()), None)
        if found is None:
            raise CheckpointError(
                f"'{path}' holds no weights: none of {', '.join(_NAMES)} is there; name the directory (or the file) of "
                f"a checkpoint."
            )
    elif path.is_file():
        found = path
    else:
        raise CheckpointError(f"there is no file or directory '{path}'.")
    if found.name.endswith(".index.json"):
        weights, files = _read_shards(found)
    else:
        weights, files = _reader(found)(found), (found,)
    return Foreign(path, weights, _config(found.parent), files)


def _read_shards(index: Path) -> tuple[dict[str, LazyArray], tuple[Path, ...]]:
    """Reads the files that an index names."""
    places = read_object(index, CheckpointError, "download it again").get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise CheckpointError(f"'{index}' has no 'weight_map' of names and files; download it again.")
    files = {name: index.parent / name for name in sorted(set(places.values()))}
    for name in files:
        if not name or Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise CheckpointError(f"'{index}' names the file '{name}', which lies outside its directory; refused.")
    if missing := [name for name, file in files.items() if not file.is_file()]:
        raise CheckpointError(
            f"'{index}' names {len(files)} files, of which {len(missing)} are missing: {', '.join(missing)}; copy or "
            f"download them too."
        )
    shards = {name: _reader(file)(file) for name, file in files.items()}
    if absent := [name for name, file in places.items() if name not in shards[file]]:
        raise CheckpointError(
            f"'{index}' promises {len(absent)} arrays that its files do not hold, '{absent[0]}' in "
            f"'{places[absent[0]]}' first; download the checkpoint again."
        )
    unlisted = {name: x for arrays in shards.values() for name, x in arrays.items() if name not in places}
    return {name: shards[file][name] for name, file in places.items()} | unlisted, tuple(files.values())


def _reader(path: Path) -> Callable[[Path], dict[str, LazyArray]]:
    """The reader of a file's format, by its content."""
    if path.suffix == ".safetensors":
        return read_safetensors
    if zipfile.is_zipfile(path) and is_torchscript(path):
        return read_torchscript
    return read_torch_file


def _config(directory: Path) -> dict[str, Any]:
    """The configuration beside the weights."""
    found = next((directory / name for name in _CONFIGS if (directory / name).is_file()), None)
    return read_object(found, CheckpointError, "download it again") if found else {}
