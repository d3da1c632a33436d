"""Reads the weights of a TorchScript archive, as OpenAI published CLIP (``ViT-B-32.pt``), without running it.

Such an archive is a program with its state; ``torch.jit.load`` would run it, and the weights-only loader refuses it.
Its state is a pickle of plain module objects around tensors, which the standard library's ``Unpickler`` follows here as
in ``data/pickled_clips.py``: the instructions are listed first (``pickletools.genops`` executes none) and only those
that such a state needs are allowed; names stand for objects of this module, and nothing is imported. BUILD can change
the objects that it reaches, so tensors and storages are immutable. The numbers are read from the archive's own entries.
"""

import io
import math
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.formats.torch_files import STORAGES

_STORAGES = {storage: np.dtype(name) for name, storage in STORAGES.items()}
# Errors of the zip reader at a damaged archive, or at one that is packed in a way that torch never does.
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
# Errors of genops and the Unpickler at a pickle that is damaged or holds something else.
_FAULTS = (pickle.UnpicklingError, StopIteration, ValueError, LookupError, TypeError, AttributeError, OverflowError)
_INSTRUCTIONS = frozenset(
    "PROTO STOP MARK NONE NEWTRUE NEWFALSE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 BININT BININT1 BININT2 LONG1 "
    "BINFLOAT BINUNICODE SHORT_BINUNICODE EMPTY_DICT EMPTY_LIST APPEND APPENDS SETITEM SETITEMS BINPUT LONG_BINPUT "
    "BINGET LONG_BINGET GLOBAL BINPERSID NEWOBJ REDUCE BUILD".split()
)
_MOST_INSTRUCTIONS = 10**6
_MOST_TUPLES = 2 * 10**4  # Hashing tuples that are nested much deeper overflows the stack.
_MOST_OBJECTS = 10**5
_LONGEST_PATH = 1000


def is_torchscript(path: Path) -> bool:
    """True for a zip file that holds code, as TorchScript's do; False for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def read_torchscript(path: Path) -> dict[str, LazyArray]:
    """The parameters and buffers of the module, by their paths in it; each is read from the archive when needed.

    Raises:
      CheckpointError: The archive is damaged, or its state is more than modules and tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            name = next(name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl"))
            state = name.removesuffix(".pkl")
            if any(entry.compress_type for entry in archive.infolist() if entry.filename.startswith(state)):
                raise ValueError("its state is packed, which torch never does, and may come to any size")
            content = archive.read(name)
            _check_instructions(content)
            found = dict(_walk(_Recorder(io.BytesIO(content)).load()))
    except (*_DAMAGES, *_FAULTS) as error:
        raise CheckpointError(
            f"'{path}' is a TorchScript archive that cannot be read ({error or type(error).__name__}); download it "
            f"again, or save the module's state_dict() and convert that."
        ) from error
    root = name.removesuffix("data.pkl")
    if not found:
        raise CheckpointError(f"'{path}' is a TorchScript archive without tensors; name another file.")
    return {key: _lazy(path, root, sizes, key, tensor) for key, tensor in found.items()}


class _Module:
    """An object of the archive: its attributes, once they are set."""

    state: Mapping[str, Any] = MappingProxyType({})  # NEWOBJ runs no __init__.

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise ValueError("it sets the state of something that is no module")
        self.state = state


class _Storage(NamedTuple):
    """An entry of the archive, and the dtype and number of its elements."""

    entry: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A view of a storage: offset, shape and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Name:
    """A name in the pickle: a storage, or a function of torch's whose calls are followed here."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self, *arguments: Any) -> Any:
        match (self.module, self.name), arguments:
            case ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor"), (storage, offset, shape, strides, *_):
                return _tensor(storage, offset, shape, strides)
            case ("torch._utils", "_rebuild_parameter"), (tensor, *_):
                return tensor
            case ("collections", "OrderedDict"), ():
                return {}
            case ("torch.jit._pickle", _), (values, *_):
                return list(values) if isinstance(values, (list, tuple)) else values
        raise ValueError(f"it calls {self.module}.{self.name}, which is never run")


class _Recorder(pickle.Unpickler):
    """Unpickles modules and tensors as descriptions, and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns the stand-in for a name."""
        return _Module if module.split(".")[0] == "__torch__" else _Name(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns a storage, from torch's ("storage", type, entry, device, size)."""
        match pid:
            case ("storage", _Name() as kind, str() as entry, _, int() as size):
                if kind.name not in _STORAGES:
                    raise ValueError("a storage has a type that is not known")
                return _Storage(entry, _STORAGES[kind.name], size)
        raise ValueError("a storage is not described as torch describes one")


def _check_instructions(content: bytes) -> None:
    tuples = 0
    for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if instruction.name not in _INSTRUCTIONS:
            raise ValueError(f"its state holds the instruction {instruction.name}, which no module needs")
        tuples += instruction.name.startswith("TUPLE")
        numbered = argument if "PUT" in instruction.name else 0  # The memo is as long as its largest index.
        if max(count, numbered) >= _MOST_INSTRUCTIONS or tuples > _MOST_TUPLES:
            raise ValueError("it has too many instructions")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    """A view that lies inside its storage."""
    for numbers in ((offset,), shape, strides):
        whole = isinstance(numbers, tuple) and all(type(n) is int and n >= 0 for n in numbers)
        if not (whole and isinstance(storage, _Storage)):
            raise ValueError("a tensor is not described as torch describes one")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + 1
    if len(shape) > 8 or (0 not in shape and max(last, math.prod(shape)) > storage.size):
        raise ValueError("a tensor reaches beyond its storage")
    return _Tensor(storage, offset, shape, strides)


def _walk(root: Any) -> Iterator[tuple[str, _Tensor]]:
    """The tensors of a module and of the modules in it, in their order."""
    left = [("", root)]
    for _ in range(_MOST_OBJECTS):
        if not left:
            return
        path, value = left.pop()
        if isinstance(value, _Tensor):
            yield path, value
        elif isinstance(value, _Module):
            inner = [(f"{path}.{name}" if path else str(name), x) for name, x in value.state.items()]
            left += reversed(inner)
        if len(left) > _MOST_OBJECTS or len(path) > _LONGEST_PATH:
            break
    raise ValueError("its modules lie in each other without end")


def _lazy(path: Path, root: str, sizes: dict[str, int], name: str, tensor: _Tensor) -> LazyArray:
    storage, entry = tensor.storage, f"{root}data/{tensor.storage.entry}"
    needed = storage.size * storage.dtype.itemsize
    if sizes.get(entry) != needed:
        raise CheckpointError(
            f"'{path}' is damaged: '{name}' needs {needed} bytes in '{entry}', which has {sizes.get(entry, 0)}; "
            f"download it again."
        )

    def read() -> np.ndarray:
        try:
            with zipfile.ZipFile(path) as archive:
                flat = np.frombuffer(archive.read(entry), storage.dtype)
        except _DAMAGES as error:
            raise CheckpointError(f"'{name}' in '{path}' cannot be read ({error}); download the file again.") from error
        steps = tuple(step * storage.dtype.itemsize for step in tensor.strides)
        return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps).copy()

    return LazyArray(tensor.shape, storage.dtype, read)
