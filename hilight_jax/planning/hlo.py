"""Reads a compiled program's text: the collectives that chips run in one step, and the bytes of its own kernels."""

import collections
import dataclasses
import graphlib
import math
import re
from collections.abc import Iterator
from typing import Any

_BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "c64": 8, "c128": 16, "token": 0}
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations|called_computations)=\{?([^},]*(?:, ?%[^},]*)*)"
)
_SHAPE = re.compile(r"\b(pred|token|bf16|[suf]\d+|c64|c128|f8\w+)\[([\d,]*)\]")
_TRIPS = re.compile(r'known_trip_count"?:\{"n":"(\d+)"')
_INSTRUCTION = re.compile(r"%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*?)\)(?:,|$)")
_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
_COLLECTIVE = re.compile(rf"%?([\w.\-]+) = (.*?) ({_KINDS})(-start)?\(")


@dataclasses.dataclass
class _Sum:
    """Collectives of one kind and group size."""

    count: int = 0
    bytes: int = 0
    arrays: set[str] = dataclasses.field(default_factory=set)

    def largest(self) -> list[str]:
        """The shapes of its three largest arrays."""
        return sorted(self.arrays, key=lambda shape: (-_shape_bytes(shape), shape))[:3]


def collectives(text: str) -> list[dict[str, Any]]:
    """Collectives by kind and group size: how often a step runs them, and the bytes of their results on each chip.

    A loop's counts are multiplied by its rounds. The TPU compiler writes a gather as an all-reduce of rows put into
    zeros, and a reduce-scatter as a fusion around an all-reduce; both are listed as what they are, a fused
    reduce-scatter with the bytes of its operand. A collective that overlaps other work is written once for every piece
    of that work, on one channel; it counts once.
    """
    found, runs = _computations(text)
    channels: dict[tuple, tuple[int, str, str]] = {}
    for name, lines in found.items():
        for line in lines:
            if (match := _COLLECTIVE.search(line)) and runs.get(name):
                channel = re.search(r"channel_id=(\d+)", line)
                key = (channel[1] if channel else match[1], match[3], *_arrays(match[2]))
                channels[key] = max(channels.get(key, (0, "", "")), (runs[name], line, name))
    sums: dict[tuple[str, int], _Sum] = {}
    for rounds, line, name in channels.values():
        match = _COLLECTIVE.search(line)
        result = _result(match[2], match[3], bool(match[4]))
        row = sums.setdefault((_kind(line, match[3], name), group_size(line)), _Sum())
        row.count += rounds
        row.bytes += rounds * _shape_bytes(result)
        row.arrays.update(_arrays(result))
    return [
        {"kind": kind, "group": group, "count": row.count, "bytes": row.bytes, "largest": row.largest()}
        for (kind, group), row in sorted(sums.items(), key=lambda item: -item[1].bytes)
    ]


def group_size(line: str) -> int:
    """Chips in each group of a collective; 0 if its line does not give them."""
    if axes := re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", axes[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", axes[2]))
    if grid := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
        return int(grid[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(listed[1].split(","))
    return 2 if "source_target_pairs=" in line else 0


def kernel_costs(text: str) -> dict[str, float]:
    """Calls of our own kernels in one step, the bytes of their operands and results, and the bytes that they declare.

    The compiler's cost analysis counts what a kernel declares, and nothing for one that declares nothing.
    """
    found, runs = _computations(text)
    calls = bytes_moved = declared_bytes = 0.0
    for name, lines in found.items():
        kernels = [line for line in lines if 'custom_call_target="tpu_custom_call"' in line]
        if not kernels or not runs.get(name):
            continue
        shapes = {match[1]: match[2] for line in lines if (match := _INSTRUCTION.search(line))}
        for line in kernels:
            match = _INSTRUCTION.search(line)
            operands = "".join(shapes.get(operand, "") + " " for operand in re.findall(r"%([\w.\-]+)", match[4]))
            calls += runs[name]
            bytes_moved += runs[name] * (_shape_bytes(match[2]) + _shape_bytes(operands))
            if declared := re.search(r'"bytes_accessed":"?(\d+)', line):
                declared_bytes += runs[name] * int(declared[1])
    return {"calls": calls, "bytes": bytes_moved, "declared_bytes": declared_bytes}


def _computations(text: str) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Lines of each computation by name, and how often a step runs each."""
    found: dict[str, list[str]] = {}
    entry, lines = "", None
    for line in text.splitlines():
        if header := _HEADER.match(line):
            lines = found.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif lines is not None and " = " in line:
            lines.append(line.strip())
    callers = graphlib.TopologicalSorter()
    for name, lines in found.items():
        for called in (called for line in lines for called in _called(line)):
            callers.add(called, name)
    runs: dict[str, int] = collections.defaultdict(int)
    runs[entry] = 1
    for name in callers.static_order():  # Every computation after all that call it.
        for line in found.get(name, ()):
            times = runs[name] * (_trips(line, found) if " while(" in line else 1)
            for called in _called(line):
                runs[called] += times
    return found, dict(runs)


def _trips(line: str, found: dict[str, list[str]]) -> int:
    """Rounds of a loop: its known trip count, else the largest constant of its condition, else 1."""
    if known := _TRIPS.search(line):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", line)
    constants = [
        int(number)
        for inside in (found.get(condition[1], []) if condition else [])
        for number in re.findall(r"s32\[\][^=]* constant\((\d+)\)", inside)
    ]
    return max(constants, default=1)


def _called(line: str) -> Iterator[str]:
    for group in _CALLED.findall(line):
        yield from (name.strip().lstrip("%") for name in group.split(","))


def _shape_bytes(text: str) -> int:
    """Bytes of all arrays whose shapes stand in ``text``, without padding."""
    total = 0.0
    for kind, sides in _SHAPE.findall(text):
        width = _BYTES[kind] if kind in _BYTES else (1 if kind.startswith("f8") else int(kind[1:]) / 8)
        total += width * math.prod(int(side) for side in sides.split(",") if side)
    return int(total)


def _arrays(text: str) -> list[str]:
    """The shapes of all arrays that stand in ``text``, without layouts."""
    return [f"{kind}[{sides}]" for kind, sides in _SHAPE.findall(text)]


def _kind(line: str, written: str, computation: str) -> str:
    """The kind of a collective, whatever it is written as."""
    if written == "all-reduce" and "reduce-scatter" in computation:
        return "reduce-scatter"
    operands = re.search(r"all-reduce(?:-start)?\(([^)]*)\)", line)
    if operands and all("dynamic-update-slice" in name for name in operands[1].split(",")):
        return "all-gather"
    return written


def _result(shapes: str, written: str, started: bool) -> str:
    """Shapes of the results; a started gather, scatter or permute also returns its operands and its own counters."""
    if started and written in ("all-gather", "collective-permute", "reduce-scatter"):
        parts = [part for part in _arrays(shapes) if part != "u32[]"]
        return ", ".join(parts[len(parts) // 2 :])
    return shapes
