"""What chips send each other in one step, read from the compiled program."""

import dataclasses
import math
import re
from typing import Any

from hilight_jax.planning import hlo

_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
_LINE = re.compile(rf"%?([\w.\-]+) = (.*?) ({_KINDS})(-start)?\(")


@dataclasses.dataclass
class _Sum:
    """Collectives of one kind and group size."""

    count: int = 0
    bytes: int = 0
    arrays: set[str] = dataclasses.field(default_factory=set)

    def largest(self) -> list[str]:
        """The shapes of its three largest arrays."""
        return sorted(self.arrays, key=lambda shape: (-hlo.shape_bytes(shape), shape))[:3]


def collectives(text: str) -> list[dict[str, Any]]:
    """Collectives by kind and group size: how often a step runs them, and the bytes of their results on each chip.

    A loop's counts are multiplied by its rounds. The TPU compiler writes a gather as rows put into zeros and an
    all-reduce of that, and a reduce-scatter as a fusion around an all-reduce; both are named by what they do. A
    collective that runs behind other work is written once for every piece of that work, on one channel: it counts once.
    Of a fused reduce-scatter the bytes are those that go in.
    """
    found, entry = hlo.computations(text)
    times = hlo.runs(found, entry)
    channels: dict[tuple, tuple[int, str, str]] = {}
    for name, lines in found.items():
        for line in lines:
            if (match := _LINE.search(line)) and times.get(name):
                channel = re.search(r"channel_id=(\d+)", line)
                key = (channel[1] if channel else match[1], match[3], *hlo.arrays(match[2]))
                channels[key] = max(channels.get(key, (0, "", "")), (times[name], line, name))
    sums: dict[tuple[str, int], _Sum] = {}
    for rounds, line, name in channels.values():
        match = _LINE.search(line)
        result = _result(match[2], match[3], bool(match[4]))
        row = sums.setdefault((_meaning(line, match[3], name), group_size(line)), _Sum())
        row.count += rounds
        row.bytes += rounds * hlo.shape_bytes(result)
        row.arrays.update(hlo.arrays(result))
    return [
        {"kind": kind, "group": group, "count": row.count, "bytes": row.bytes, "largest": row.largest()}
        for (kind, group), row in sorted(sums.items(), key=lambda item: -item[1].bytes)
    ]


def group_size(line: str) -> int:
    """Chips that take part in each group; 0 where the line does not say."""
    if axes := re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", axes[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", axes[2]))
    if grid := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
        return int(grid[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(listed[1].split(","))
    return 2 if "source_target_pairs=" in line else 0


def _meaning(line: str, kind: str, computation: str) -> str:
    """What a collective does, whatever it is written as."""
    if kind == "all-reduce" and "reduce-scatter" in computation:
        return "reduce-scatter"
    operands = re.search(r"all-reduce(?:-start)?\(([^)]*)\)", line)
    if operands and all("dynamic-update-slice" in name for name in operands[1].split(",")):
        return "all-gather"
    return kind


def _result(shapes: str, kind: str, started: bool) -> str:
    """What an asynchronous gather or permute gives: it returns its operands, its results and counters of its own."""
    if started and kind in ("all-gather", "collective-permute", "reduce-scatter"):
        parts = [part for part in hlo.arrays(shapes) if part != "u32[]"]
        return ", ".join(parts[len(parts) // 2 :])
    return shapes
