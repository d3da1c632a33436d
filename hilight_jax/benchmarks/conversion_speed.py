"""Times a model's way in and out, beside a plain copy of the same bytes, and measures the memory that it takes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hilight_jax.benchmarks.machine import seconds
from hilight_jax.benchmarks.random_models import write_random_original
from hilight_jax.core import trees
from hilight_jax.core.distributed import log
from hilight_jax.core.errors import UserError
from hilight_jax.models.hilight import param_shapes
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.stages.chat_config import ChatTrainConfig

FORMATS = ("hilight", "huggingface", "stablehlo")


def measure(config: ChatTrainConfig, place: Path, formats: str) -> dict[str, Any]:
    """Writes a model of random weights in the original's layout, copies, converts and exports it, and cleans up.

    Every command runs in a process of its own, its time taken until the disk has everything. ``place`` is the directory
    of all files; the ``formats`` to export have commas between.

    Returns:
      Per step its seconds, gigabytes per second and, of commands, the peak of memory and the share of the plain
      copy's speed.

    Raises:
      UserError: The model has one tower only, a format is unknown, the disk is too small, or a command failed.
    """
    if config.model.frames is None:
        raise UserError(
            "config.model.frames is None, but the original's layout has a frame tower; name a config with both towers, "
            "such as configs/align.py:2b."
        )
    if unknown := [name for name in formats.split(",") if name not in FORMATS]:
        raise UserError(f"--formats names '{unknown[0]}', but may name {', '.join(FORMATS)}.")
    place.mkdir(parents=True, exist_ok=True)
    needed = disk_space(config.model)
    if (free := shutil.disk_usage(place).free) < needed:
        raise UserError(
            f"'{place}' needs {needed / 1e9:.0f} GB and has {free / 1e9:.0f} GB; name a larger disk by --place."
        )
    log(f"{needed / 1e9:.0f} GB of disk are needed in {place}")
    source, workdir = place / "source", place / "workdir"
    for old in (source, workdir):
        shutil.rmtree(old, ignore_errors=True)
    log("writing random weights")
    write_random_original(config.model, config.data, source)
    size = _size(source)
    log(f"copying {size / 1e9:.1f} GB")
    took = _seconds_to_disk(lambda: shutil.copytree(source, place / "copy"))
    shutil.rmtree(place / "copy")
    copy = size / took
    rates = {"source_gb": size / 1e9, "copy_seconds": took, "copy_gb_per_second": copy / 1e9}
    commands = {"convert": ["convert", str(source / "hilight"), "--to", str(workdir)]}
    for name in formats.split(","):
        rest = ["--format", name, "--to", str(place / name), "--no_fingerprint"]
        commands[f"export {name}"] = ["export", str(workdir), *rest]
    for name, command in commands.items():
        made = Path(command[command.index("--to") + 1])
        rates[name] = _rates(command, made, copy)
        if made != workdir:
            shutil.rmtree(made)
    for made in (source, workdir):
        shutil.rmtree(made)
    return rates


def disk_space(config: HiLightConfig) -> int:
    """Bytes that ``measure`` takes: three copies of the weights at a time."""
    return 3 * sum(x.size * 4 for x in trees.flatten(param_shapes(config)).values()) + 2**28


def _rates(command: Sequence[str], made: Path, copy: float) -> dict[str, float]:
    """Speed and memory of a command that writes ``made``, beside a copy's bytes per second."""
    log(f"python -m hilight_jax.{' '.join(command)}")
    peaks: list[int] = []
    took = _seconds_to_disk(lambda: peaks.append(_peak_memory(command)))
    speed = _size(made) / took
    shares = {"gb_per_second": speed / 1e9, "share_of_copy": speed / copy, "peak_memory_gb": peaks[0] / 1e9}
    return {"seconds": took, **shares}


def _peak_memory(command: Sequence[str]) -> int:
    """Runs a command in a process of its own and returns the bytes of its memory at the peak."""
    process = subprocess.Popen([sys.executable, "-m", f"hilight_jax.{command[0]}", *command[1:]], stderr=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"'python -m hilight_jax.{' '.join(command)}' failed; mend what it names above.")
    return usage.ru_maxrss * 1024


def _seconds_to_disk(work: Callable[[], object]) -> float:
    """Seconds until everything is on disk."""

    def synced() -> None:
        work()
        os.sync()

    os.sync()
    return seconds(synced)


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
