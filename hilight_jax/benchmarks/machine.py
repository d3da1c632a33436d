"""What this machine can do at best: the limits that speeds are compared with, and the memory that was taken."""

import os
import resource
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.mesh import batch_sharding, batch_shards, replicated

# Numbers that a thread reads in one go: long runs, and enough of them for the threads to end together.
_RUN = 1 << 24


def matmul(shape: tuple[int, int, int], dtype: jnp.dtype, mesh: Mesh) -> Callable[[], float]:
    """Returns a function that runs one matrix product and returns its FLOPs per second, all devices together.

    Args:
      shape: Rows of each device, inner size, columns.
      dtype: Of the operands.
      mesh: Rows are split over its batch axes, so that nothing is communicated.
    """
    rows, inner, columns = shape
    shards = batch_shards(mesh)
    left = jnp.ones((rows * shards, inner), dtype, device=batch_sharding(mesh))
    right = jnp.ones((inner, columns), dtype, device=replicated(mesh))
    product = jax.jit(jnp.matmul, out_shardings=batch_sharding(mesh)).lower(left, right).compile()
    product(left, right).block_until_ready()

    def run() -> float:
        began = time.perf_counter()
        product(left, right).block_until_ready()
        return 2 * rows * inner * columns * shards / (time.perf_counter() - began)

    return run


def reads(arrays: Iterable[jax.Array]) -> dict[str, Callable[[], float]]:
    """Returns, by who reads, functions that read all arrays once and return the bytes per second.

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

    def timed(read: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            began = time.perf_counter()
            read()
            return size / (time.perf_counter() - began)

        return run

    return {name: timed(read) for name, read in readers.items()}


def peak_memory(devices: Iterable[jax.Device]) -> int:
    """Bytes of the process at its largest on a CPU, else of the device that was fullest."""
    stats = [device.memory_stats() for device in devices]
    if all(s and "peak_bytes_in_use" in s for s in stats):
        return max(s["peak_bytes_in_use"] for s in stats)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
