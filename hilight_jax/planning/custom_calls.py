"""Kernels of the program's own, of which the compiler's cost analysis knows what they declare."""

import re

from hilight_jax.planning import hlo

_LINE = re.compile(r"%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*?)\)(?:,|$)")


def kernel_costs(text: str) -> dict[str, float]:
    """Calls of kernels in one step, the bytes of their operands and results, and what they declare by a cost estimate.

    The compiler's own analysis takes what a kernel declares, and counts nothing for one that declares nothing.
    """
    found, entry = hlo.computations(text)
    times = hlo.runs(found, entry)
    calls = bytes_moved = flops = declared_bytes = 0.0
    for name, lines in found.items():
        kernels = [line for line in lines if 'custom_call_target="tpu_custom_call"' in line]
        if not kernels or not times.get(name):
            continue
        shapes = {match[1]: match[2] for line in lines if (match := _LINE.search(line))}
        for line in kernels:
            match = _LINE.search(line)
            operands = "".join(shapes.get(operand, "") + " " for operand in re.findall(r"%([\w.\-]+)", match[4]))
            calls += times[name]
            bytes_moved += times[name] * (hlo.shape_bytes(match[2]) + hlo.shape_bytes(operands))
            if declared := re.search(r'"flops":"?(\d+)', line):
                flops += times[name] * int(declared[1])
            if declared := re.search(r'"bytes_accessed":"?(\d+)', line):
                declared_bytes += times[name] * int(declared[1])
    return {"calls": calls, "bytes": bytes_moved, "declared_bytes": declared_bytes, "declared_flops": flops}
