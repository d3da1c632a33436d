"""torch's files of weights (``.pt``, ``.bin``): read by torch's weights-only loader, written without torch.

Files are written in torch's zip format: a pickle that describes the tensors, and the numbers of each tensor as one
uncompressed entry. The pickle is written instruction by instruction, since a pickler needs the classes of torch that it
names. The file loads with ``torch.load(weights_only=True, mmap=True)``.
"""

import functools
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray

# torch's storage classes by dtype.
STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
# The keys under which training scripts save weights beside other things; the first that is there is used.
_INSIDE = ("state_dict", "model_state_dict", "model", "module")
_MOST_WRAPPERS = 4
_ALIGNMENT = 64
_REMAP_BYTES = 10**9
_ZIP64_ABOVE = zipfile.ZIP64_LIMIT / 1.05  # As the standard library decides it.


def read_torch_file(path: Path) -> dict[str, LazyArray]:
    """The arrays of a state dict; files are mapped, and mapped anew when much was read, so they never lie in memory.

    Raises:
      CheckpointError: torch is not installed, the file is cut off or no checkpoint, or it holds more than weights.
    """
    file = _File(path)
    return {
        name: LazyArray(tuple(tensor.shape), _numpy_dtype(path, name, tensor), functools.partial(file.read, name))
        for name, tensor in file.tensors().items()
    }


def write_torch_file(path: Path, tensors: Mapping[str, Any]) -> None:
    """Writes an ordered state dict of contiguous tensors, numpy or lazy arrays that are read one after the other.

    The stem of ``path`` names the archive inside, as torch does it.

    Raises:
      CheckpointError: torch has no such dtype.
    """
    for name, x in tensors.items():
        if np.dtype(x.dtype).name not in STORAGES:
            raise CheckpointError(f"'{name}' has the dtype {x.dtype}, which torch's files do not know.")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _write_entry(archive, f"{path.stem}/data.pkl", _describe(tensors))
        _write_entry(archive, f"{path.stem}/byteorder", b"little")
        for i, x in enumerate(tensors.values()):
            content = np.asarray(x, order="C")
            _write_entry(archive, f"{path.stem}/data/{i}", memoryview(content.reshape(-1).view(np.uint8)))
        _write_entry(archive, f"{path.stem}/version", b"3\n")


class _File:
    """A file that is mapped, and mapped anew when much was read: pages that were read count as memory."""

    def __init__(self, path: Path):
        self._path, self._mapped = path, zipfile.is_zipfile(path)
        self._tensors: dict[str, Any] | None = None
        self._bytes_read = 0

    def tensors(self) -> dict[str, Any]:
        """The tensors by name."""
        if self._tensors is None:
            self._tensors, self._bytes_read = _load(self._path, self._mapped), 0
        return self._tensors

    def read(self, name: str) -> np.ndarray:
        """One tensor as an array of its own."""
        tensor = self.tensors()[name].contiguous()
        self._bytes_read += tensor.nbytes
        if str(tensor.dtype) == "torch.bfloat16":
            import torch  # pyright: ignore[reportMissingImports]

            x = tensor.view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
        else:
            x = tensor.numpy().copy()
        if self._mapped and self._bytes_read > _REMAP_BYTES:
            self._tensors = None
        return x


def _load(path: Path, mapped: bool) -> dict[str, Any]:
    """The tensors of a file by name."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise CheckpointError(
            f"'{path}' is a file of torch's, and torch is not installed; pip install 'hilight_jax[torch]', or convert "
            f"the file to safetensors where torch is."
        ) from error
    damages = (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, OSError)
    damages += (AssertionError, OverflowError, struct.error)
    try:
        value = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except torch.serialization.pickle.UnpicklingError as error:  # pyright: ignore[reportPrivateImportUsage]
        if re.search(r"unsupported (global|class)|blocked", str(error), re.IGNORECASE):
            raise CheckpointError(
                f"'{path}' is no plain file of weights: it holds a pickle that calls for code "
                f"({_first_line(error, 'GLOBAL')}), which is never run; save the state dict alone "
                f"(torch.save(model.state_dict(), ...)) and convert that."
            ) from error
        raise _damaged(path, "its pickle holds what no pickle of weights does") from error
    except damages as error:
        raise _damaged(path, _first_line(error)) from error
    return dict(_tensors(path, value, torch))


def _tensors(path: Path, value: Any, torch: Any) -> Iterator[tuple[str, Any]]:
    """The named tensors of a loaded value, below the keys of training scripts."""
    for _ in range(_MOST_WRAPPERS):
        key = next((key for key in _INSIDE if isinstance(value, Mapping) and isinstance(value.get(key), Mapping)), None)
        value = value if key is None else value[key]
    found = value.items() if isinstance(value, Mapping) else ()
    named = [(name, x.detach()) for name, x in found if isinstance(name, str) and isinstance(x, torch.Tensor)]
    if not named:
        raise CheckpointError(
            f"'{path}' holds {type(value).__name__ if not isinstance(value, Mapping) else 'a dict without tensors'}, "
            f"not a state dict of named tensors; save model.state_dict()."
        )
    yield from named


def _numpy_dtype(path: Path, name: str, tensor: Any) -> np.dtype:
    layout, kind = (str(x).removeprefix("torch.") for x in (tensor.layout, tensor.dtype))
    if layout != "strided":
        raise CheckpointError(f"'{name}' in '{path}' is a {layout} tensor, but weights must be dense; call to_dense().")
    if tensor.is_meta:
        raise CheckpointError(f"'{name}' in '{path}' has a shape and no numbers; save the model after it was loaded.")
    if kind not in STORAGES:
        raise CheckpointError(f"'{name}' in '{path}' has the dtype {kind}, but weights may be {', '.join(STORAGES)}.")
    return np.dtype(kind)


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"'{path}' is no checkpoint of torch's, or is cut off ({reason}); copy or download it again."
    )


def _first_line(error: Exception, word: str = "") -> str:
    """The first sentence of an error's first line, or of the line with ``word``."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    found = next((line for line in lines if word and word in line), lines[0])
    return re.split(r"\.\s", found)[0][:160].rstrip(".:")


def _describe(tensors: Mapping[str, Any]) -> bytes:
    """The pickle, protocol 2: an OrderedDict of calls that rebuild each tensor from its storage."""
    parts = [b"\x80\x02", _call("collections", "OrderedDict"), b"("]
    for i, (name, x) in enumerate(tensors.items()):
        kind, size = STORAGES[np.dtype(x.dtype).name], int(np.prod(x.shape, dtype=np.int64))
        storage = [b"(", _text("storage"), _name("torch", kind), _text(str(i)), _text("cpu"), _number(size), b"tQ"]
        view = [_number(0), _numbers(x.shape), _numbers(_strides(x.shape)), b"\x89"]  # It needs no gradient.
        hooks = _call("collections", "OrderedDict")
        parts += [_text(name), _name("torch._utils", "_rebuild_tensor_v2"), b"(", *storage, *view, hooks, b"tR"]
    return b"".join([*parts, b"u."])


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _call(module: str, name: str) -> bytes:
    """A call without arguments."""
    return _name(module, name) + b")R"


def _text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _number(value: int) -> bytes:
    """A whole number: four bytes, or as many as it takes."""
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def _numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(_number(value) for value in values) + b"t"


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a contiguous tensor, in elements."""
    return tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))


def _write_entry(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    """Writes one entry whose content begins at a multiple of 64 bytes, as torch's own files do."""
    entry = zipfile.ZipInfo(name)
    entry.file_size = len(content)
    header = 30 + len(name.encode()) + (20 if entry.file_size > _ZIP64_ABOVE else 0) + 4
    padding = -(archive.fp.tell() + header) % _ALIGNMENT
    entry.extra = struct.pack("<HH", 0x4246, padding) + b"Z" * padding
    with archive.open(entry, "w") as file:
        file.write(content)
