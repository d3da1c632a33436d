"""One golden case: reads it, compares against it, and remembers which of its tensors some rule has matched."""

import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tests.parity import tolerances


class Case:
    """A sidecar and its tensors, in one pass (``dtype``).

    A kind's ``check(case)`` reads inputs and weights, computes, and compares. Whatever it reads or compares is marked;
    ``finish`` then fails by name every tensor that nothing matched and every comparison that went wrong.

    Attributes:
      name: File name without its suffix.
      kind: The sidecar's ``kind``, the module in ``tests/parity/kinds`` that checks it.
      sidecar: The whole JSON file.
      config: Its ``config``.
      tensors: Every tensor; floating-point ones as float64.
      dtype: ``float64`` or ``float32``: what this pass computes in.
    """

    def __init__(self, sidecar_path: str | pathlib.Path, dtype: str):
        """Reads ``X.json`` and, where it exists, ``X.safetensors`` beside it."""
        path = pathlib.Path(sidecar_path)
        self.path = path
        self.name = path.stem
        self.dtype = dtype
        self.sidecar: dict[str, Any] = json.loads(path.read_text())
        self.kind: str = self.sidecar["kind"]
        self.config: dict[str, Any] = self.sidecar.get("config", {})
        self.tensors = _load(path.with_suffix(".safetensors"))
        self._gradient_scale = tolerances.largest_gradient(self.tensors)
        self._matched: set[str] = set()
        self._failures: list[str] = []

    def names(self, pattern: str) -> Iterator[re.Match]:
        """Yields the match of every tensor name that ``pattern`` matches wholly; take sub-cases from here."""
        for name in sorted(self.tensors):
            if match := re.fullmatch(pattern, name):
                yield match

    def mark(self, name: str) -> None:
        """Counts a tensor as matched."""
        self._matched.add(name)

    def input(self, name: str) -> np.ndarray | None:
        """``inputs/<name>`` in the dtype of the pass (integers as stored), or None when the case has none."""
        name = f"inputs/{name}"
        self.mark(name)
        return self._in_dtype(self.tensors[name]) if name in self.tensors else None

    def weights(self, prefix: str = "weights/") -> dict[str, np.ndarray]:
        """All weights, the prefix cut off; from another file of the directory where ``weights_in`` names it."""
        elsewhere = self.sidecar.get("weights_in")
        tensors = _load(self.path.parent / elsewhere) if elsewhere else self.tensors
        found = {name: x for name, x in tensors.items() if name.startswith(prefix)}
        self._matched |= set(found)
        return {name.removeprefix(prefix): self._in_dtype(x) for name, x in found.items()}

    def compare(self, name: str, value: Any, quantity: str | None = None) -> None:
        """Compares ``value`` with the golden ``name`` within its tolerance; an absent golden is not checked.

        Args:
          name: Name of the tensor.
          value: What we have.
          quantity: Name in the table of tolerances, where it is not the tensor's.
        """
        if name not in self.tensors:
            return
        self.mark(name)
        expected, value = self.tensors[name], np.asarray(value, np.float64)
        if value.shape != expected.shape:
            self._failures.append(f"{name}: shape {value.shape}, expected {expected.shape}")
        elif not np.isfinite(value).all():
            self._failures.append(f"{name}: {np.sum(~np.isfinite(value))} of {value.size} values are not finite")
        elif expected.size:
            error = float(np.abs(value - expected).max())
            allowed = tolerances.tolerance(self.kind, quantity or name, expected, self.dtype, self._gradient_scale)
            if error > allowed:
                absmax = np.abs(expected).max()
                self._failures.append(f"{name}: off by {error:.3g}, allowed {allowed:.3g} (absmax {absmax:.3g})")

    def compare_all(self, values: Mapping[str, Any], prefix: str = "") -> None:
        """Compares ``{name: value}``, each name behind ``prefix``."""
        for name, value in values.items():
            self.compare(f"{prefix}{name}", value)

    def exact(self, name: str, value: Any) -> None:
        """Compares ids, masks, frame indices and the like: every element equal; an absent golden is not checked."""
        if name not in self.tensors:
            return
        self.mark(name)
        expected, value = self.tensors[name], np.asarray(value)
        if value.shape != expected.shape:
            self._failures.append(f"{name}: shape {value.shape}, expected {expected.shape}")
        elif not np.array_equal(value, expected):
            wrong = np.argwhere(value != expected)
            self._failures.append(f"{name}: {len(wrong)} of {value.size} differ, the first at {wrong[0].tolist()}")

    def finish(self) -> None:
        """Fails with every wrong tensor and every tensor with elements that no rule matched, by name."""
        for name in sorted(set(self.tensors) - self._matched):
            if self.tensors[name].size and not tolerances.is_not_ours(self.kind, name):
                self._failures.append(f"{name}: matched by no rule of kind '{self.kind}' and not in NOT_OURS")
        assert not self._failures, f"{self.name}, {self.dtype} pass:\n" + "\n".join(self._failures)

    def _in_dtype(self, x: np.ndarray) -> np.ndarray:
        return x.astype(self.dtype) if np.issubdtype(x.dtype, np.floating) else x


def _load(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a safetensors file, floats as float64; nothing when there is no file."""
    if not path.exists():
        return {}
    tensors = load_file(path)
    return {name: x.astype(np.float64) if np.issubdtype(x.dtype, np.floating) else x for name, x in tensors.items()}
