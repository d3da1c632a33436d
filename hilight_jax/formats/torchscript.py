"""Reads the weights of a TorchScript archive, as OpenAI published CLIP (``ViT-B-32.pt``), without running it.

Such an archive is a program with its state; ``torch.jit.load`` would run it, and the weights-only loader refuses it.
Its state is a pickle of plain module objects around tensors. The instructions are listed (``pickletools.genops``, which
executes nothing) and followed on a stack of descriptions; the numbers are read from the archive's own entries. The
standard library's ``Unpickler`` needs more care than these instructions: even with an allow-list of names an index of
its memo can allocate gigabytes and BUILD can change the objects that a name stands for.
"""

import math
import pickletools
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.formats.torch_files import STORAGES

_STORAGES = {storage: np.dtype(name) for name, storage in STORAGES.items()}
# Errors of the zip reader at a damaged archive, or at one that is packed in a way that torch never does.
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE")
_MOST_INSTRUCTIONS = 10**6
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
            reader = _Reader()
            for count, (instruction, argument, _) in enumerate(pickletools.genops(archive.read(name))):
                if count == _MOST_INSTRUCTIONS:
                    raise ValueError("it has too many instructions")
                reader.follow(instruction.name, argument)
            found = dict(_walk(reader.result))
    except (*_DAMAGES, StopIteration, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"'{path}' is a TorchScript archive that cannot be read ({error or type(error).__name__}); download it "
            f"again, or save the module's state_dict() and convert that."
        ) from error
    root = name.removesuffix("data.pkl")
    if not found:
        raise CheckpointError(f"'{path}' is a TorchScript archive without tensors; name another file.")
    return {key: _lazy(path, f"{root}data/{tensor.entry}", sizes, key, tensor) for key, tensor in found.items()}


class _Name:
    """A name in the pickle: a class of the archive, a storage, a function of torch's."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class _Module:
    """An object of the archive: its attributes, once they are set."""

    def __init__(self):
        self.state: dict[str, Any] = {}


class _Storage:
    def __init__(self, entry: str, dtype: np.dtype, size: int):
        self.entry, self.dtype, self.size = entry, dtype, size


class _Tensor:
    """A view of a storage: offset, shape and strides in elements."""

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any):
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor is not described as torch describes one")
        for numbers in ((offset,), shape, strides):
            if not (isinstance(numbers, tuple) and all(type(n) is int and n >= 0 for n in numbers)):
                raise ValueError("a tensor is not described as torch describes one")
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + 1
        if len(shape) > 8 or (0 not in shape and max(last, math.prod(shape)) > storage.size):
            raise ValueError("a tensor reaches beyond its storage")
        self.entry, self.dtype, self.storage_size = storage.entry, np.dtype(storage.dtype), storage.size
        self.offset, self.shape, self.strides = offset, shape, strides


class _Reader:
    """Follows the instructions of a module's pickle; calls are looked up here, nothing is imported."""

    def __init__(self):
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.result: Any = None

    def follow(self, name: str, argument: Any) -> None:
        """Follows one instruction; any that a module's state does not need is refused."""
        stack = self._stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._to_mark() if name == "TUPLE" else self._take(int(name[-1]))))
        elif name in ("APPENDS", "APPEND"):
            items = self._to_mark() if name == "APPENDS" else self._take(1)
            stack[-1].extend(items)
        elif name in ("SETITEMS", "SETITEM"):
            items = self._to_mark() if name == "SETITEMS" else self._take(2)
            if not isinstance(stack[-1], dict):
                raise ValueError("it sets items of something that has none")
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(_Name(*argument.split(" ", 1)))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "NEWOBJ":
            self._make()
        elif name == "REDUCE":
            self._call()
        elif name == "BUILD":
            state = stack.pop()
            if not (isinstance(stack[-1], _Module) and isinstance(state, dict)):
                raise ValueError("it sets the state of something that is no module")
            stack[-1].state = state
        elif name == "STOP":
            self.result = stack.pop()
        else:
            raise ValueError(f"its state holds the instruction {name}, which no module needs")

    def _make(self) -> None:
        arguments, made = self._stack.pop(), self._stack.pop()
        if not (isinstance(made, _Name) and made.module.split(".")[0] == "__torch__" and arguments == ()):
            raise ValueError("it makes an object that is no module of its own")
        self._stack.append(_Module())

    def _call(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        named = (called.module, called.name) if isinstance(called, _Name) else None
        if named in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            self._stack.append(_Tensor(*arguments))
        elif named == ("torch._utils", "_rebuild_parameter"):
            self._stack.append(arguments[0])
        elif named == ("collections", "OrderedDict") and arguments == ():
            self._stack.append({})
        elif named and named[0] == "torch.jit._pickle":
            self._stack.append(list(arguments[0]) if isinstance(arguments[0], (list, tuple)) else arguments[0])
        else:
            raise ValueError(f"it calls {'.'.join(named) if named else 'something nameless'}, which is never run")

    def _to_mark(self) -> list[Any]:
        items = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _take(self, count: int) -> list[Any]:
        return [self._stack.pop() for _ in range(count)][::-1]


def _storage(described: Any) -> _Storage:
    """A storage, from torch's ("storage", type, entry, device, size)."""
    if not (isinstance(described, tuple) and len(described) == 5 and described[0] == "storage"):
        raise ValueError("a storage is not described as torch describes one")
    _, kind, entry, _, size = described
    if not (isinstance(kind, _Name) and kind.name in _STORAGES and isinstance(entry, str) and type(size) is int):
        raise ValueError("a storage has a type that is not known")
    return _Storage(entry, np.dtype(_STORAGES[kind.name]), size)


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


def _lazy(path: Path, entry: str, sizes: dict[str, int], name: str, tensor: _Tensor) -> LazyArray:
    if sizes.get(entry) != tensor.storage_size * tensor.dtype.itemsize:
        raise CheckpointError(
            f"'{path}' is damaged: '{name}' needs {tensor.storage_size * tensor.dtype.itemsize} bytes in '{entry}', "
            f"which has {sizes.get(entry, 0)}; download it again."
        )

    def read() -> np.ndarray:
        try:
            with zipfile.ZipFile(path) as archive:
                flat = np.frombuffer(archive.read(entry), tensor.dtype)
        except _DAMAGES as error:
            raise CheckpointError(f"'{name}' in '{path}' cannot be read ({error}); download the file again.") from error
        steps = tuple(step * tensor.dtype.itemsize for step in tensor.strides)
        return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps).copy()

    return LazyArray(tensor.shape, tensor.dtype, read)
