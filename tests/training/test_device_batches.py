"""Batches are read and placed ahead, in order; what fails is raised in its place; steps are compiled by batch shape."""

import itertools
import threading

import numpy as np
import pytest

from hilight_jax.checkpoints.store import Store
from hilight_jax.core.errors import DataError
from hilight_jax.training import loop
from hilight_jax.training.device_batches import DeviceBatches
from tests.training.toy_run import ToyTrainer


def test_batches_come_in_order_as_read_and_as_placed():
    numbers = ({"x": i} for i in itertools.count())
    with DeviceBatches(numbers, lambda batch: {"x": -batch["x"]}) as batches:
        assert [next(batches) for _ in range(5)] == [({"x": i}, {"x": -i}) for i in range(5)]


def test_two_batches_are_placed_before_they_are_asked_for():
    placed = threading.Semaphore(0)
    with DeviceBatches(({"x": i} for i in itertools.count()), lambda batch: placed.release() or batch) as batches:
        for _ in range(2):
            assert placed.acquire(timeout=10)
        assert not placed.acquire(timeout=0.05)
        next(batches)
        assert placed.acquire(timeout=10)


def test_what_fails_is_raised_where_the_batch_is_asked_for():
    def read():
        yield {"x": 1}
        raise DataError("clip 2 is gone.")

    with DeviceBatches(read(), dict) as batches:
        assert next(batches).host == {"x": 1}
        with pytest.raises(DataError, match="clip 2 is gone"):
            next(batches)


def test_batches_of_several_shapes_are_trained_on(tmp_path):
    trainer = ToyTrainer(steps=6, eval_every=6)
    batches = ({"x": np.ones(2 + i % 3, np.float32)} for i in itertools.count())
    store = Store(tmp_path / "checkpoints", trainer.config.keep)
    state = loop.run(trainer, trainer.init_state(), batches, store, tmp_path, loop.Hooks())
    store.close()
    assert int(state.step) == 6
