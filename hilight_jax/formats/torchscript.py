"""Reads the weights of a TorchScript archive, as OpenAI published CLIP (``ViT-B-32.pt``), without running it.

Such an archive is a program with its state; ``torch.jit.load`` would run it, and the weights-only loader refuses it.
Its state is a pickle of plain module objects around tensors, which the standard library's Unpickler follows here: the
instructions are listed first (``pickletools.genops`` executes none) and only those that such a state needs are allowed.
Names, tensors and storages become descriptions, and nothing is imported. The Unpickler is the one in Python: the one in
C hashes every key of a dictionary, which never ends for a tuple that holds another twice, and so on 40 deep. The
numbers are read from the archive's own entries.
"""

import io
import math
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.formats.torch_files import STORAGES

_STORAGES = {storage: np.dtype(name) for name, storage in STORAGES.items()}
# Errors of the zip reader at a damaged archive, or at one that is packed in a way that torch never does.
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
# Errors of the Unpickler at a pickle that holds something else; their messages describe Python, not the file.
_FAULTS = (UnicodeError, LookupError, TypeError, AttributeError, OverflowError)
_INSTRUCTIONS = frozenset(
    "PROTO STOP MARK NONE NEWTRUE NEWFALSE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 BININT BININT1 BININT2 LONG1 "
    "BINFLOAT BINUNICODE SHORT_BINUNICODE EMPTY_DICT EMPTY_LIST APPEND APPENDS SETITEM SETITEMS BINPUT LONG_BINPUT "
    "BINGET LONG_BINGET GLOBAL BINPERSID NEWOBJ REDUCE BUILD".split()
)
_MOST_INSTRUCTIONS = 10**6
_MOST_OBJECTS = 10**5
_MOST_AXES = 8
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
            name = next((name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")), None)
            if name is None:
                raise ValueError("it has no data.pkl")
            state = name.removesuffix(".pkl")
            if any(entry.compress_type for entry in archive.infolist() if entry.filename.startswith(state)):
                raise ValueError("its state is packed, which torch never does, and may come to any size")
            content = archive.read(name)
            _check_instructions(content)
            found = dict(_walk(_Recorder(io.BytesIO(content)).load()))
    except (*_DAMAGES, *_FAULTS, pickle.UnpicklingError, ValueError, MemoryError) as error:
        raise CheckpointError(
            f"'{path}' is a TorchScript archive that cannot be read ({_cause(error)}); download it again, or save the "
            f"module's state_dict() and convert that."
        ) from error
    root = name.removesuffix("data.pkl")
    if not found:
        raise CheckpointError(f"'{path}' is a TorchScript archive without tensors; name another file.")
    return {key: _lazy(path, root, sizes, key, tensor) for key, tensor in found.items()}


def _cause(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, _FAULTS):
        return "its state is damaged, or more than modules and tensors"
    return str(error) or type(error).__name__


class _Name(NamedTuple):
    """A name in the pickle: a class of the archive, a storage, or a function."""

    module: str
    name: str


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


class _Dict(dict[str, Any]):
    """A dictionary that hashes texts only; items under numbers, which cannot be a module's, are left out."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, str):
            super().__setitem__(key, value)
        elif not isinstance(key, (int, float)):
            raise ValueError("it has a dictionary with keys that are neither text nor numbers")


class _Module:
    """An object of the archive: its attributes, once they are set."""

    __slots__ = ("state",)

    def __init__(self):
        self.state = _Dict()


class _Recorder(pickle._Unpickler):
    """Unpickles modules and tensors as descriptions, and imports nothing."""

    stack: list[Any]

    def find_class(self, module: str, name: str) -> _Name:
        """Returns the description of a name."""
        return _Name(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns a storage, from torch's ("storage", type, entry, device, size)."""
        match pid:
            case ("storage", _Name() as kind, str() as entry, _, int() as size):
                if kind.name not in _STORAGES:
                    raise ValueError("a storage has a type that is not known")
                return _Storage(entry, _STORAGES[kind.name], size)
        raise ValueError("a storage is not described as torch describes one")

    def _make_dictionary(self) -> None:
        self.stack.append(_Dict())

    def _make_object(self) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        if not (isinstance(made, _Name) and made.module.split(".")[0] == "__torch__" and arguments == ()):
            raise ValueError("it makes an object that is no module of its own")
        self.stack.append(_Module())

    def _call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        self.stack.append(_value(called, arguments))

    def _set_state(self) -> None:
        state = self.stack.pop()
        if not (isinstance(self.stack[-1], _Module) and isinstance(state, _Dict)):
            raise ValueError("it sets the state of something that is no module")
        self.stack[-1].state = state

    dispatch = pickle._Unpickler.dispatch | {
        pickle.EMPTY_DICT[0]: _make_dictionary,
        pickle.NEWOBJ[0]: _make_object,
        pickle.REDUCE[0]: _call,
        pickle.BUILD[0]: _set_state,
    }


def _check_instructions(content: bytes) -> None:
    for count, (instruction, _, _) in enumerate(pickletools.genops(content)):
        if instruction.name not in _INSTRUCTIONS:
            raise ValueError(f"its state holds the instruction {instruction.name}, which no module needs")
        if count == _MOST_INSTRUCTIONS:
            raise ValueError("it has too many instructions")


def _value(called: Any, arguments: Any) -> Any:
    """Returns the value of a call; the arguments are not copied, as many calls may share a long list."""
    if not isinstance(called, _Name):
        raise ValueError("it calls something nameless, which is never run")
    match called, arguments:
        case ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor"), (storage, offset, shape, strides, *_):
            return _tensor(storage, offset, shape, strides)
        case ("torch._utils", "_rebuild_parameter"), (tensor, *_):
            return tensor
        case ("collections", "OrderedDict"), ():
            return _Dict()
        case ("torch.jit._pickle", _), (values, *_):
            return values
    raise ValueError(f"it calls {'.'.join(called)}, which is never run")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    """A view that lies inside its storage."""
    tuples = isinstance(storage, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple)
    few = tuples and len(shape) == len(strides) <= _MOST_AXES  # Before each is looked at: calls may share a long tuple.
    if not (few and all(type(n) is int and n >= 0 for n in (offset, *shape, *strides))):
        raise ValueError("a tensor is not described as torch describes one")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + 1
    if 0 not in shape and max(last, math.prod(shape)) > storage.size:
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
            longest = max(map(len, value.state), default=0)
            if len(left) + len(value.state) > _MOST_OBJECTS or len(path) + longest >= _LONGEST_PATH:
                break
            inner = [(f"{path}.{name}" if path else name, x) for name, x in value.state.items()]
            left += reversed(inner)
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
            steps = tuple(step * storage.dtype.itemsize for step in tensor.strides)
            return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps).copy()
        except (*_DAMAGES, ValueError, OverflowError) as error:  # Also a shape of 0 by more than numpy can count.
            raise CheckpointError(f"'{name}' in '{path}' cannot be read ({error}); download the file again.") from error

    return LazyArray(tensor.shape, storage.dtype, read)
