"""Plans as text, for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

_MEMORY = {
    "trained": "trained parameters",
    "frozen": "frozen parameters",
    "optimizer": "optimiser",
    "batch": "batch",
    "padding": "padding of these",
    "towers": "towers (a program of their own)",
    "temporaries": "temporaries",
    "outputs": "outputs that replace nothing",
    "code": "programs",
}


def plan_table(plan: Mapping[str, Any]) -> str:
    """Memory and collectives of a plan, one figure a line."""
    mesh = " x ".join(f"{name} {size}" for name, size in plan["mesh"].items())
    lines = [
        _line("chips", f"{plan['chips']} ({plan['topology']}), {plan['hosts']} hosts; mesh {mesh}"),
        _line("batch", f"{plan['batch_size']:,}, {plan['batch_per_chip']:g} a chip"),
        _line("compute", ", ".join(f"{name} {value}" for name, value in plan["compute"].items())),
        _line("parameters", f"{plan['trained_parameters']:,} trained, {plan['frozen_parameters']:,} frozen"),
        "",
        "memory of a chip (the compiler's)",
    ]
    lines += [_line(f"  {_MEMORY[name]}", _gib(size)) for name, size in plan["memory"].items() if size]
    if plan["needed"]:
        lines.append(_line("  together", f"{_gib(plan['needed'])} of {_gib(plan['capacity'])}"))
    lines.append(_line("  fits", "yes" if plan["fits"] else f"NO: {plan['advice']}"))
    if "compiler" in plan:
        lines.append(_line("  the compiler's message", plan["compiler"]))
    if "collectives" in plan:
        lines += ["", "sent between chips in a step (bytes of results on each chip; read from the program)"]
        lines += [_collective(row) for row in plan["collectives"]] or [_line("  nothing", "")]
        lines += ["", _line("compiled in", f"{plan['compile_seconds']:.0f} s")]
    return "\n".join(lines)


def sweep_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of a sweep, best first."""
    lines = [f"{'batch a chip':>12} {'remat':>6} {'fsdp':>5} {'memory':>11} {'fits':>5} {'model FLOPs a step':>19}"]
    for row in rows:
        needed = _gib(row["needed"]) if row["needed"] else "?"
        lines.append(
            f"{row['batch_per_chip']:>12g} {row['remat']!s:>6} {row['fsdp']:>5} {needed:>11} "
            f"{'yes' if row['fits'] else 'no':>5} {row['model_flops']:>19.3e}"
        )
    best = next((row for row in rows if row["fits"]), None)
    lines.append("best: " + (" ".join(best["overrides"]) if best else "none of these fits; take more chips"))
    return "\n".join(lines)


def speed_table(plan: Mapping[str, Any]) -> str:
    """The roofline of a plan that has the figures of `plans.speed`, one figure a line."""
    lines = ["", _line("model FLOPs of a step", f"{plan['model_flops']:.4g} (counted, nothing twice)")]
    found = plan["roofline"]
    if found is None:
        lines.append(_line("roofline", f"none: written out, it does not fit ({plan['roofline_problem']})"))
        return "\n".join(lines)
    lines += [
        _line("compiled FLOPs of a chip", f"{found['flops']:.4g} (the compiler's, layers written out)"),
        _line("bytes of a chip", f"{found['bytes']:.4g} (the compiler's; kernels by operands and results)"),
    ]
    if found["kernels"]:
        lines.append(_line("kernels of our own", f"{found['kernels']} calls, {found['kernel_bytes']:.4g} bytes"))
    times = f"compute {found['compute_seconds']:.4g} s, memory {found['memory_seconds']:.4g} s"
    lines += [
        _line("at the peaks (estimate)", times),
        _line("limited by", found["limit"]),
        _line("MFU bound (estimate)", f"{100 * found['mfu_bound']:.1f} %"),
    ]
    if "towers_seconds" in found:
        lines.append(_line("towers (estimate)", f"{found['towers_seconds']:.4g} s a step at the peak, uncached"))
    hours = f"{plan['chip_hours']:,.0f} for {plan['steps']:,} steps at these bounds; real runs take more"
    return "\n".join([*lines, _line("chip-hours (estimate)", hours)])


def _collective(row: Mapping[str, Any]) -> str:
    group = f" over {row['group']} chips" if row["group"] else ""
    sent = f"{row['count']} x, {_size(row['bytes'])}; largest {', '.join(row['largest'])}"
    return _line(f"  {row['kind']}{group}", sent)


def _line(name: str, value: str) -> str:
    return f"{name:<34}{value}".rstrip()


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 / 200 else f"{size / 2**20:.2f} MiB"


def _size(size: float) -> str:
    unit = next((u for u in (3, 2, 1) if size >= 1024**u), 0)
    return f"{size / 1024**unit:.4g} {('B', 'KiB', 'MiB', 'GiB')[unit]}"
