"""Reads HiLight's ``.pkl`` clips, float32 arrays that were resized and normalised before they were stored.

A pickle is a program. The standard library's ``Unpickler`` follows it here under two limits. Before it starts, the
instructions are listed (``pickletools.genops`` executes none) and only the few that write down one array are allowed;
frames are taken out, because the two read an argument that crosses the end of a frame differently. The five names that
numpy's pickles mention stand for objects of this module that record a call instead of making it; the array is then made
from that record by ``np.frombuffer``.

An allow-list of numpy's own functions would be shorter, but is not safe: in numpy 2.4 an object array with too few
items, a field beyond its element or an object field over plain bytes read outside their memory and end the process, and
an alignment of 0 divides by zero. Instructions alone do harm too: hashing a tuple nested a million deep overflows the
stack, six bytes of LONG_BINPUT allocate 64 GiB, BUILD changes a function's defaults, and a cached extension code
bypasses ``find_class``. ``tests/data/test_pickled_clips.py`` holds these attacks.
"""

import dataclasses
import io
import math
import os
import pathlib
import pickle
import pickletools
import re
from typing import Any

import numpy as np

from hilight_jax.core.errors import DataError

_LARGEST_FILE = 2**28  # 445 frames of 224 x 224; a file that is one text may take seven times its size in memory.
_LARGEST_VALUE = 10.0  # CLIP's normalised pixels stay within 3.
_MOST_INSTRUCTIONS = 1000
_FRAME_BYTES = 9  # The instruction and its length.
_INSTRUCTIONS = frozenset(
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 TUPLE INT BININT BININT1 BININT2 "
    "LONG LONG1 STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES "
    "BINBYTES BINBYTES8 BYTEARRAY8 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE "
    "BUILD".split()
)
_NAMES = frozenset(
    [("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")]
    + [(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")]
    + [(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")]
)
# Errors of genops and the Unpickler at a damaged file.
_DAMAGE = (pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, EOFError, OverflowError)


class PickleError(DataError):
    """A pickle cannot be used; the caller adds the file's name to the message."""


def read_pickled_clip(path: str | pathlib.Path) -> np.ndarray:
    """Reads a clip that was resized and normalised before it was stored.

    Returns:
      float32 [F, 3, Y, X], read-only where the file holds float32; a leading axis of one is dropped.

    Raises:
      PickleError: The file is missing, unreadable, damaged or too large, holds anything but one array, or that is no
        such clip.
    """
    array = read_pickled_array(_content(pathlib.Path(path)))
    clip = array[0] if array.ndim == 5 and len(array) == 1 else array
    if clip.ndim != 4 or clip.shape[1] != 3 or not clip.size:
        raise PickleError(f"its array has the shape {array.shape}; a clip is [frames, 3, rows, columns].")
    if clip.dtype.kind != "f":
        raise PickleError(f"its array is {clip.dtype}; a pickled clip is floating-point, normalised as CLIP's input.")
    clip = clip.astype(np.float32, copy=False)
    largest = max(clip.max(), -clip.min())
    if not largest <= _LARGEST_VALUE:  # Also when it is not a number.
        raise PickleError(
            f"its values reach {largest}; a pickled clip is normalised as CLIP's input, within 3 of zero."
        )
    return clip


def read_pickled_array(content: bytes) -> np.ndarray:
    """Returns the one array of numbers that a pickle of any protocol (0 to 5) and any numpy holds.

    The array shares the memory of the unpickled bytes, so it may be read-only.

    Raises:
      PickleError: It holds anything else, is damaged, or needs more memory than there is.
    """
    size = len(content)
    try:
        content = _instructions(content)  # In place of the first copy, which is freed if the caller keeps none.
        return _array(_Recorder(io.BytesIO(content), encoding="latin1").load())
    except _DAMAGE as error:
        raise PickleError(f"the file of {size} bytes is no pickle, or is damaged ({error!s:.80}).") from error
    except MemoryError as error:
        raise PickleError(f"the file of {size} bytes takes more memory than there is.") from error


@dataclasses.dataclass(slots=True, eq=False)
class _Call:
    """A recorded call, and the state that was set on its result."""

    name: str
    arguments: tuple
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Name:
    """Stands for an allowed name; calling it records the call."""

    __slots__ = ("_name",)

    def __init__(self, name: str):
        self._name = name

    def __call__(self, *arguments: Any) -> _Call:
        return _Call(self._name, arguments)


class _Recorder(pickle.Unpickler):
    """Unpickles literals, tuples and recorded calls, and imports nothing."""

    def find_class(self, module: str, name: str) -> _Name:
        """Returns the stand-in for an allowed name."""
        if (module, name) not in _NAMES:
            raise PickleError(
                f"it needs {module[:40]!a}.{name[:40]!a}, which no array of numbers needs; nothing of it was run."
            )
        return _Name(name)


def _instructions(content: bytes) -> bytes:
    """Returns a pickle without its frames; refuses instructions that no array needs, and bytes behind the end."""
    view, parts, start, end = memoryview(content), [], 0, 0
    for count, (instruction, argument, position) in enumerate(pickletools.genops(content)):
        if count == _MOST_INSTRUCTIONS:
            raise PickleError(f"it has more than {_MOST_INSTRUCTIONS} instructions, far more than one array needs.")
        if instruction.name not in _INSTRUCTIONS:
            raise PickleError(
                f"it holds more than an array (instruction {instruction.name}), which no array of numbers needs; "
                "nothing of it was run. Store the array alone."
            )
        if "PUT" in instruction.name and argument >= _MOST_INSTRUCTIONS:  # The memo is as long as its largest index.
            raise PickleError(f"it numbers an object beyond {_MOST_INSTRUCTIONS}, which no array of numbers needs.")
        if instruction.name == "FRAME":
            parts.append(view[start:position])
            start = position + _FRAME_BYTES
        end = position + 1
    if end != len(content):
        raise PickleError(f"{len(content) - end} bytes follow its end; store one array and no more.")
    return b"".join([*parts, view[start:]]) if parts else content


def _array(described: Any) -> np.ndarray:
    """Makes the array that a recorded call describes; numpy has one form up to protocol 4, another in protocol 5."""
    match described:
        case _Call("_reconstruct", _, (_, shape, dtype, column_major, data)):
            order = "F" if column_major else "C"
        case _Call("_frombuffer", (data, dtype, shape, order), _):
            order = "F" if order == "F" else "C"
        case _:
            raise PickleError(f"it holds {_named(described)}, not an array of numbers.")
    data, dtype = _bytes(data), _dtype(dtype)
    if not (isinstance(shape, tuple) and all(type(n) is int and 0 <= n <= _LARGEST_FILE for n in shape[:9])):
        raise PickleError("its array has no shape of whole numbers.")
    if len(shape) > 8 or math.prod(shape) * dtype.itemsize != len(data):
        raise PickleError(f"its array of shape {shape[:9]} and type {dtype} cannot have {len(data)} bytes.")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _bytes(data: Any) -> bytes | bytearray:
    """Returns an array's content; protocols 0 to 2 and Python 2 write bytes as text."""
    match data:
        case bytes() | bytearray():
            return data
        case str() as text:
            return text.encode("latin-1")
        case _Call("encode", (str() as text, "latin1" | "latin-1"), _):
            return text.encode("latin-1")
    raise PickleError(f"its array's content is {_named(data)}, not bytes.")


def _dtype(described: Any) -> np.dtype:
    """Returns the element type: its code is the call's argument, its byte order part of its state."""
    match described:
        case _Call("dtype", (str() as code, *_), (_, "<" | ">" | "|" | "=" as order, None, None, None, *_)):
            if re.fullmatch(r"f[248]|[iu][1248]|b1", code):
                return np.dtype(code).newbyteorder(order)
            raise PickleError(f"its elements are {_named(code)}; only an array of numbers is read.")
    raise PickleError("its element type is not one of numbers; only an array of numbers is read.")


def _named(thing: Any) -> str:
    """Returns a short name for a message, in ASCII; the inside of a tuple may be huge, so it is left out."""
    return ascii(thing[:40]) if isinstance(thing, str) else f"a {type(thing).__name__.strip('_').lower()}"


def _content(path: pathlib.Path) -> bytes:
    if not os.path.isfile(path):  # Unlike pathlib's, False also for a name that the system refuses.
        raise PickleError("the file does not exist; correct the path.")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise PickleError(f"the file has {path.stat().st_size} bytes, more than a clip can ({_LARGEST_FILE}).")
        return path.read_bytes()
    except OSError as error:
        raise PickleError(f"the file cannot be read ({error.strerror}).") from error
