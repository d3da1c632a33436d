"""Settings that a sweep tries, and their ranks, with a compiler that only counts."""

import dataclasses

import pytest

from hilight_jax.planning import sweep as module
from hilight_jax.planning.tables import sweep_table
from hilight_jax.planning.topologies import parse
from tests.stages.tiny import tiny_config

GIB = 2**30


@pytest.fixture
def rows(monkeypatch):
    tried = []

    def plan(config, topology, devices):
        batch, remat = config.batch_size // topology.chips, config.model.compute.remat
        needed = batch * (1 if remat else 4) * GIB + 8 * GIB // config.mesh.fsdp
        tried.append((batch, remat, config.mesh.fsdp))
        return {"fits": needed <= 16 * GIB, "needed": needed, "batch_per_chip": batch, "compile_seconds": 1.0}

    monkeypatch.setattr(module, "make_plan", plan)
    config = dataclasses.replace(tiny_config(), batch_size=64)
    return module.sweep(config, parse("v5e:4x4"), [], lambda line: None), tried


def test_the_largest_batch_that_fits_comes_first_and_without_remat_where_that_fits_too(rows):
    found, _ = rows
    assert found[0]["fits"] and (found[0]["batch_per_chip"], found[0]["remat"], found[0]["fsdp"]) == (8, True, 1)
    fitting = [row["batch_per_chip"] for row in found if row["fits"]]
    assert fitting == sorted(fitting, reverse=True) and not found[-1]["fits"]


def test_nothing_larger_than_what_did_not_fit_is_tried(rows):
    _, tried = rows
    assert (2, False, 1) in tried and (4, False, 1) in tried and (8, False, 1) not in tried


def test_the_table_ends_with_the_settings_to_give(rows):
    found, _ = rows
    assert sweep_table(found).splitlines()[-1].startswith("best: --config.batch_size=128 --config.model.compute.remat")
