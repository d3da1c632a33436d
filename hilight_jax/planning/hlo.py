"""The text of a compiled program: its computations, how often each runs, and sizes of shapes."""

import collections
import math
import re
from collections.abc import Iterator

BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "c64": 8, "c128": 16, "token": 0}
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations|called_computations)=\{?([^},]*(?:, ?%[^},]*)*)"
)
_SHAPE = re.compile(r"\b(pred|token|bf16|[suf]\d+|c64|c128|f8\w+)\[([\d,]*)\]")
_TRIPS = re.compile(r'known_trip_count"?:\{"n":"(\d+)"')


def computations(text: str) -> tuple[dict[str, list[str]], str]:
    """Lines of each computation by name, and the name of the first one to run."""
    found: dict[str, list[str]] = {}
    entry, lines = "", None
    for line in text.splitlines():
        if header := _HEADER.match(line):
            lines = found.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif lines is not None and " = " in line:
            lines.append(line.strip())
    return found, entry


def runs(found: dict[str, list[str]], entry: str) -> dict[str, int]:
    """How often each computation runs in one step: loops by the trip count that the compiler knows or tests against."""
    counts: dict[str, int] = collections.defaultdict(int)
    counts[entry] = 1
    for name in _in_calling_order(found, entry):
        for line in found[name]:
            times = counts[name] * (trips(line, found) if " while(" in line else 1)
            for called in _called(line):
                counts[called] += times
    return dict(counts)


def trips(line: str, found: dict[str, list[str]]) -> int:
    """Rounds of a loop: what the compiler wrote on it, else the largest constant of its condition, else 1."""
    if known := _TRIPS.search(line):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", line)
    constants = [
        int(number)
        for inside in (found.get(condition[1], []) if condition else [])
        for number in re.findall(r"s32\[\][^=]* constant\((\d+)\)", inside)
    ]
    return max(constants, default=1)


def shape_bytes(text: str) -> int:
    """Bytes of all arrays whose shapes stand in ``text``, without padding."""
    total = 0.0
    for kind, sides in _SHAPE.findall(text):
        width = BYTES[kind] if kind in BYTES else (1 if kind.startswith("f8") else int(kind[1:]) / 8)
        total += width * math.prod(int(side) for side in sides.split(",") if side)
    return int(total)


def arrays(text: str) -> list[str]:
    """The shapes of all arrays that stand in ``text``, without layouts."""
    return [f"{kind}[{sides}]" for kind, sides in _SHAPE.findall(text)]


def _called(line: str) -> Iterator[str]:
    for group in _CALLED.findall(line):
        yield from (name.strip().lstrip("%") for name in group.split(","))


def _in_calling_order(found: dict[str, list[str]], entry: str) -> list[str]:
    """Every reachable computation after all that call it."""
    done: dict[str, None] = {}
    stack = [(entry, False)]
    while stack:
        name, finished = stack.pop()
        if finished:
            done[name] = None
        elif name not in done and name in found:
            stack.append((name, True))
            stack += [(called, False) for line in found[name] for called in _called(line) if called not in done]
    return list(reversed(done))
