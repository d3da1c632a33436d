"""Reads an array out of a pickle without unpickling it: a small reader of the format that knows arrays alone.

A pickle is a program: ``pickle.load`` runs whatever it calls. This reader lists its instructions
(``pickletools.genops``, which executes nothing) and follows only the few that write down one numpy array, in any
protocol from 0 to 5 and from any numpy. Calls are looked up in a closed table of four names, which stand for functions
of this file; nothing is imported and no foreign code runs.
"""

import math
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from hilight_jax.core.errors import DataError

_MOST_INSTRUCTIONS = 1000
_MARK = object()


class PickleError(DataError):
    """A pickle cannot be used; the message does not repeat its name, which the caller knows better."""


def read_pickled_array(content: bytes) -> np.ndarray:
    """Returns the one array of numbers that a pickle holds.

    Raises:
      PickleError: It holds anything else, or is damaged.
    """
    reader = _Reader()
    end = 0
    try:
        for count, (instruction, argument, position) in enumerate(pickletools.genops(content)):
            if count == _MOST_INSTRUCTIONS:
                raise PickleError(f"it has more than {_MOST_INSTRUCTIONS} instructions, far more than one array needs.")
            reader.follow(instruction.name, argument)
            end = position + 1
    except ValueError as error:
        raise PickleError(f"the file of {len(content)} bytes is no pickle, or is damaged ({error}).") from error
    if end != len(content):
        raise PickleError(f"{len(content) - end} bytes follow its end; store one array and no more.")
    result = reader.result
    if not isinstance(result, _Array) or result.value is None:
        raise PickleError(f"it holds {_named(result)}, not an array of numbers.")
    return result.value


class _Array:
    """An array that is being described; ``value`` is None until its content has come."""

    def __init__(self, value: np.ndarray | None = None):
        self.value = value

    def set_state(self, state: Any) -> None:
        """Fills the array from numpy's (version, shape, element type, column-major, bytes)."""
        if not (isinstance(state, tuple) and len(state) == 5):
            raise PickleError("its array is not described as numpy describes one.")
        _, shape, dtype, column_major, data = state
        self.value = _array(data, dtype, shape, "F" if column_major else "C")


class _ElementType:
    """A numpy element type of numbers, without and then with its byte order."""

    def __init__(self, code: str):
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Takes the byte order out of numpy's (version, order, None, None, None, ...)."""
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=")):
            raise PickleError("its element type is not described as numpy describes one.")
        if state[2:5] != (None, None, None):
            raise PickleError("its element type has fields or is a part of another; only an array of numbers is read.")
        self.dtype = self.dtype.newbyteorder(state[1])


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _element_type(code: Any = None, *_: Any) -> _ElementType:
    if not (isinstance(code, str) and re.fullmatch(r"[fiu][1248]|b1", code) and code != "f1"):
        raise PickleError(f"its elements are {_named(code)}; only an array of numbers is read.")
    return _ElementType(code)


def _encode(text: Any = None, encoding: Any = None, *_: Any) -> bytes:
    """How protocols 0 to 2 write bytes: as text whose characters are they."""
    if not (isinstance(text, str) and encoding in ("latin1", "latin-1")):
        raise PickleError("its bytes are not written as numpy's are.")
    return _latin(text)


def _from_buffer(data: Any = None, dtype: Any = None, shape: Any = None, order: Any = None, *_: Any) -> _Array:
    """How protocol 5 writes an array."""
    return _Array(_array(data, dtype, shape, "F" if order == "F" else "C"))


class _Name:
    """A name of the closed table, and what a call of it stands for; None for what is only named."""

    def __init__(self, call: Callable | None):
        self.call = call


_NDARRAY = _Name(None)
_NAMES = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Name(_element_type),
    ("_codecs", "encode"): _Name(_encode),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Name(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Name(_from_buffer) for core in ("core", "_core")},
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_LITERALS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Reader:
    """Follows the instructions of a pickle on a stack of constants, tuples and half-described arrays."""

    def __init__(self):
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.result: Any = None

    def follow(self, name: str, argument: Any) -> None:
        """Follows one instruction; one that no array needs is refused by its name."""
        if name in ("PROTO", "FRAME"):
            return
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            self._stack.append(argument)
        elif name in _TUPLES:
            self._stack.append(tuple(reversed([self._pop() for _ in range(_TUPLES[name])])))
        elif name == "TUPLE":
            self._stack.append(tuple(reversed(list(iter(self._pop, _MARK)))))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if argument is None else argument] = self._top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self._memo:
                raise PickleError(f"it refers to its object {argument}, which it does not hold: the file is damaged.")
            self._stack.append(self._memo[argument])
        elif name == "GLOBAL":
            self._push_name(*argument.split(" ", 1))
        elif name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            self._push_name(module, attribute)
        elif name == "REDUCE":
            arguments, called = self._pop(), self._pop()
            if not (isinstance(called, _Name) and called.call and isinstance(arguments, tuple)):
                raise PickleError(f"it calls {_named(called)}; only an array of numbers is read.")
            self._stack.append(called.call(*arguments))
        elif name == "BUILD":
            state, described = self._pop(), self._top()
            if not isinstance(described, (_Array, _ElementType)):
                raise PickleError(f"it sets the state of {_named(described)}; only an array of numbers is read.")
            described.set_state(state)
        elif name == "STOP":
            self.result = self._pop()
        else:
            raise PickleError(f"it holds more than an array (instruction {name}); store the array alone.")

    def _push_name(self, module: Any, attribute: Any) -> None:
        if not (isinstance(module, str) and isinstance(attribute, str)) or (module, attribute) not in _NAMES:
            raise PickleError(
                f"it asks for {_named(module)}.{_named(attribute)}, which no array of numbers needs; nothing of it was "
                "run."
            )
        self._stack.append(_NAMES[module, attribute])

    def _top(self) -> Any:
        if not self._stack:
            raise PickleError("its instructions take more than they give: the file is damaged.")
        return self._stack[-1]

    def _pop(self) -> Any:
        top = self._top()
        self._stack.pop()
        return top


def _array(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """Reads an array out of its bytes, whose number must be what shape and element type say."""
    data = _latin(data) if isinstance(data, str) else data
    if not (isinstance(data, (bytes, bytearray)) and isinstance(dtype, _ElementType)):
        raise PickleError("its array is not described as numpy describes one.")
    if not (isinstance(shape, tuple) and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)):
        raise PickleError("its array is not described as numpy describes one.")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise PickleError(f"its array of shape {shape} and type {dtype.dtype} cannot have {len(data)} bytes.")
    return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)


def _latin(text: str) -> bytes:
    """The bytes whose characters a text is; UnicodeEncodeError is a ValueError, which the caller expects."""
    return text.encode("latin-1")


def _named(thing: Any) -> str:
    """A short name for a message, in ASCII; never the inside of a tuple, which may be endless."""
    return ascii(thing[:40]) if isinstance(thing, str) else f"a {type(thing).__name__.strip('_').lower()}"
