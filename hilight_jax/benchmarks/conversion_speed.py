"""How fast a model comes in and goes out, beside a plain copy of the same bytes, and in how much memory."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hilight_jax.core import trees
from hilight_jax.core.errors import UserError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.data.conversations.config import ConversationDataConfig
from hilight_jax.data.conversations.gemma_tokenizer import train_tokenizer
from hilight_jax.formats.exporting.exportable import ExportedChat
from hilight_jax.formats.exporting.hilight import write_hilight
from hilight_jax.models import hilight
from hilight_jax.models.hilight import HiLightConfig

FORMATS = ("hilight", "huggingface", "stablehlo")
_BLOCK = 1 << 22


def disk_space(config: HiLightConfig) -> int:
    """Bytes that ``measure`` takes: three copies of the weights at a time."""
    shapes = trees.flatten(hilight.param_shapes(config))
    return 3 * sum(int(np.prod(x.shape)) * 4 for x in shapes.values()) + 2**28


def measure(
    config: HiLightConfig,
    data: ConversationDataConfig,
    place: Path,
    formats: Sequence[str],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Writes a model of random weights in the original's layout, copies, converts and exports it, and cleans up.

    Every command runs in a process of its own, its time taken until the disk has everything.

    Returns:
      Per step its seconds, gigabytes per second and, of commands, the peak of memory and the share of the plain
      copy's speed.

    Raises:
      UserError: The disk is too small, or a command failed.
    """
    place.mkdir(parents=True, exist_ok=True)
    needed = disk_space(config)
    if (free := shutil.disk_usage(place).free) < needed:
        raise UserError(
            f"'{place}' needs {needed / 1e9:.0f} GB and has {free / 1e9:.0f} GB; name a larger disk by --place."
        )
    tell(f"{needed / 1e9:.0f} GB of disk are needed in {place}")
    source, workdir = place / "source", place / "workdir"
    for old in (source, workdir):
        shutil.rmtree(old, ignore_errors=True)
    tell("writing random weights")
    write_source(config, data, source, place)
    size = _size(source)
    rates = {"source_gb": size / 1e9}
    tell(f"copying {size / 1e9:.1f} GB")
    seconds = _timed(lambda: shutil.copytree(source, place / "copy"))
    shutil.rmtree(place / "copy")
    copy = size / seconds
    rates |= {"copy_seconds": seconds, "copy_gb_per_second": copy / 1e9}
    commands = {"convert": ["convert", str(source / "hilight"), "--to", str(workdir)]}
    for name in formats:
        rest = ["--format", name, "--to", str(place / name), "--no_fingerprint"]
        commands[f"export {name}"] = ["export", str(workdir), *rest]
    for name, command in commands.items():
        tell(f"python -m hilight_jax.{' '.join(command)}")
        seconds, peak = _run(command)
        written = _size(Path(command[command.index("--to") + 1]))
        rates[name] = {
            "seconds": seconds,
            "gb_per_second": written / seconds / 1e9,
            "share_of_copy": written / seconds / copy,
            "peak_memory_gb": peak / 1e9,
        }
        if name != "convert":
            shutil.rmtree(place / command[3])
    for made in (source, workdir):
        shutil.rmtree(made)
    return rates


def write_source(config: HiLightConfig, data: ConversationDataConfig, directory: Path, place: Path) -> None:
    """A HiLight of random weights in the original's layout; every array repeats one block of numbers."""
    block = np.random.default_rng(0).standard_normal(_BLOCK, np.float32) * np.float32(0.02)

    def leaf(_: str, x: jax.ShapeDtypeStruct) -> LazyArray:
        return LazyArray(x.shape, np.float32, lambda: np.resize(block, x.shape))

    params = trees.map_with_path(leaf, hilight.param_shapes(config))
    tokenizer = place / "tokenizer.model"
    words = [f"the {colour} ball is potted" for colour in ("red", "blue", "green", "black", "white")]
    train_tokenizer(words * 20, 320, str(tokenizer))
    directory.mkdir()
    write_hilight(ExportedChat(config, params, data, tokenizer), directory)
    tokenizer.unlink()


def _run(command: Sequence[str]) -> tuple[float, int]:
    """Seconds until everything is on disk, and bytes of memory at the peak."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", f"hilight_jax.{command[0]}", *command[1:]], stderr=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    os.sync()
    if process.returncode:
        raise UserError(f"'python -m hilight_jax.{' '.join(command)}' failed; mend what it names above.")
    return time.perf_counter() - began, usage.ru_maxrss * 1024


def _timed(work: Callable[[], object]) -> float:
    """Seconds until everything is on disk."""
    os.sync()
    began = time.perf_counter()
    work()
    os.sync()
    return time.perf_counter() - began


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
