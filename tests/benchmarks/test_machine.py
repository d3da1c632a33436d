import time

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.benchmarks import machine
from hilight_jax.core.mesh import make_mesh


def test_a_product_s_speed_is_its_flops_over_its_time(monkeypatch):
    run = machine.matmul((3, 5, 7), jnp.dtype("float32"), make_mesh(devices=jax.devices()[:2]))
    clock = iter([10.0, 10.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert run() == 2 * (3 * 2) * 5 * 7 / 0.5  # Two devices, three rows each.


def test_a_read_s_speed_is_the_bytes_over_its_time(monkeypatch):
    arrays = [jnp.ones((3, 5)), jnp.ones(2, jnp.int8)]
    readers = machine.reads(arrays)
    assert set(readers) == {"xla", "numpy"}
    for run in readers.values():
        clock = iter([10.0, 10.5])
        monkeypatch.setattr(time, "perf_counter", lambda clock=clock: next(clock))
        assert run() == (3 * 5 * 4 + 2) / 0.5


def test_a_read_looks_at_every_number(monkeypatch):
    monkeypatch.setattr(machine, "_RUN", 4)
    seen = []
    monkeypatch.setattr(np, "max", lambda x: seen.extend(x.tolist()))
    machine.reads([jnp.arange(6.0).reshape(2, 3), jnp.full(5, 9.0)])["numpy"]()
    assert sorted(seen) == [0, 1, 2, 3, 4, 5, 9, 9, 9, 9, 9]


def test_peak_memory_of_a_cpu_is_the_process_s():
    before = machine.peak_memory(jax.devices())
    held = np.ones(25_000_000)
    assert machine.peak_memory(jax.devices()) >= max(before, held.nbytes)
