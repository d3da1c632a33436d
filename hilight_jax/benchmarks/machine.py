"""The limits of this machine that speeds are compared with: plain matrix products, plain reads, memory.

On a shared machine other work slows a limit and what is compared with it alike, so both are measured in turns and the
median over the rounds is reported: a best of many would catch the quiet moments that a long step cannot have.
"""

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.mesh import batch_sharding, batch_shards, replicated

# Side of the large square product, by platform.
SQUARE = {"cpu": 4096, "gpu": 8192, "tpu": 8192}
# Numbers that a thread reads in one go: long runs, and enough of them for the threads to end together.
_RUN = 1 << 24


class Limit:
    """A limit of the machine: the speed of the fastest of some programs, measured round by round.

    Each program returns its speed; in a round that is the median of its repeats.
    """

    def __init__(self, programs: Mapping[str, Callable[[], float]], repeats: int):
        self._programs, self._repeats = programs, repeats
        self.rounds: list[dict[str, float]] = []  # Speeds of all programs.

    def measure(self) -> None:
        """Runs a round."""
        speeds = {name: [run() for _ in range(self._repeats)] for name, run in self._programs.items()}
        self.rounds.append({name: statistics.median(values) for name, values in speeds.items()})

    def speed(self) -> float:
        """The median over the rounds of the fastest program."""
        return statistics.median(max(speeds.values()) for speeds in self.rounds)

    def speeds(self) -> dict[str, float]:
        """The median over the rounds of every program."""
        return {name: statistics.median(speeds[name] for speeds in self.rounds) for name in self._programs}


def products(rows: int, width: int, mlp_dim: int, dtype: jnp.dtype, mesh: Mesh) -> dict[str, Callable[[], float]]:
    """Returns a large square product and those of an MLP by ``rowsxinnerxcolumns``; see ``matmul``."""
    side = SQUARE.get(mesh.devices.flat[0].platform, 8192)
    shapes = [(side, side, side), (rows, width, mlp_dim), (rows, mlp_dim, width)]
    return {"x".join(map(str, shape)): matmul(shape, dtype, mesh) for shape in shapes}


def matmul(shape: tuple[int, int, int], dtype: jnp.dtype, mesh: Mesh) -> Callable[[], float]:
    """Returns a function that runs one matrix product and returns its FLOPs per second, all devices together.

    The shape is rows of each device, inner size, columns. Rows are split over the mesh's batch axes, so that nothing is
    communicated.
    """
    rows, inner, columns = shape
    shards = batch_shards(mesh)
    left = jnp.ones((rows * shards, inner), dtype, device=batch_sharding(mesh))
    right = jnp.ones((inner, columns), dtype, device=replicated(mesh))
    product = jax.jit(jnp.matmul, out_shardings=batch_sharding(mesh)).lower(left, right).compile()
    product(left, right).block_until_ready()

    return _speed_of(lambda: product(left, right).block_until_ready(), 2 * rows * inner * columns * shards)


def reads(arrays: Iterable[jax.Array]) -> dict[str, Callable[[], float]]:
    """Returns functions by reader that read all arrays once and return the bytes per second.

    The readers are a compiled program and, where the arrays lie in this process's memory, numpy on every usable core;
    on a CPU either may be the faster one.
    """
    arrays = list(arrays)
    size = sum(x.nbytes for x in arrays)
    program = jax.jit(lambda arrays: [jnp.max(x) for x in arrays]).lower(arrays).compile()

    def compiled() -> None:
        jax.block_until_ready(program(arrays))

    readers = {"xla": compiled}
    if all(device.platform == "cpu" for x in arrays for device in x.devices()):
        flat = [np.asarray(x).reshape(-1) for x in arrays]
        runs = [x[start : start + _RUN] for x in flat for start in range(0, x.size, _RUN)]
        pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        readers["numpy"] = lambda: [None for _ in pool.map(np.max, runs)]

    return {name: _speed_of(read, size) for name, read in readers.items()}


def seconds(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_memory(devices: Iterable[jax.Device]) -> int:
    """Peak memory in bytes: of the process on a CPU, else of the fullest device."""
    stats = [device.memory_stats() for device in devices]
    if all(s and "peak_bytes_in_use" in s for s in stats):
        return max(s["peak_bytes_in_use"] for s in stats)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def allocator() -> str:
    """The memory allocator of this process; tcmalloc saves a CPU train step many page faults."""
    maps = Path("/proc/self/maps")
    return "tcmalloc" if maps.is_file() and "tcmalloc" in maps.read_text() else "libc"


def _speed_of(work: Callable[[], object], amount: float) -> Callable[[], float]:
    return lambda: amount / seconds(work)
