"""Advice for a run that does not fit, the settings of a sweep with a compiler that only counts, and a roofline."""

import dataclasses

import pytest

from hilight_jax.planning import plans
from hilight_jax.planning.hlo import kernel_costs
from hilight_jax.planning.plans import advice, roofline
from hilight_jax.planning.tables import sweep_table
from hilight_jax.planning.topologies import CHIPS, parse
from tests.stages.tiny import tiny_config

CONFIG = dataclasses.replace(tiny_config(), batch_size=512)


def test_every_setting_that_helps_is_named():
    said = advice(CONFIG, parse("v5e:4x4"), 20 * 2**30)
    assert said.startswith("the run needs 20.00 GiB of a chip, which has 15.75 GiB:")
    for setting in ("model.compute.remat=true", "mesh.fsdp=4", "batch_size=256", "accumulate=2", "more chips than 16"):
        assert setting in said


def test_what_is_already_done_is_not_named():
    compute = dataclasses.replace(CONFIG.model.compute, remat=True)
    done = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, compute=compute), batch_size=16)
    said = advice(done, parse("v5e:4x4"), None)
    assert "remat=true" not in said and "batch_size=" not in said and "needs more than a chip" in said


GIB = 2**30


@pytest.fixture
def rows(monkeypatch):
    tried = []

    def plan(config, topology, devices):
        batch, remat = config.batch_size // topology.chips, config.model.compute.remat
        needed = batch * (1 if remat else 4) * GIB + 8 * GIB // config.mesh.fsdp
        tried.append((batch, remat, config.mesh.fsdp))
        return {"fits": needed <= 16 * GIB, "needed": needed, "batch_per_chip": batch, "compile_seconds": 1.0}

    monkeypatch.setattr(plans, "make_plan", plan)
    config = dataclasses.replace(tiny_config(), batch_size=64)
    return plans.sweep(config, parse("v5e:4x4"), [], lambda line: None), tried


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


DECLARED = '"cost_estimate":{"flops":"4096","transcendentals":"7","bytes_accessed":"100"}'
CALL = '%k.{0} = f32[8,8]{{1,0}} custom-call(%x), custom_call_target="tpu_custom_call", backend_config={{{1}}}'
PROGRAM = "\n".join(
    [
        "ENTRY %main (x: f32[8,8]) -> f32[8,8] {",
        "  %x = f32[8,8]{1,0} parameter(0)",
        "  " + CALL.format(1, DECLARED),
        "  " + CALL.format(2, ""),
        '  %other = f32[8,8]{1,0} custom-call(%x), custom_call_target="AllocateBuffer"',
        "}",
    ]
)


def test_kernels_count_by_operands_and_results():
    costs = kernel_costs(PROGRAM)
    assert costs == {"calls": 2, "bytes": 2 * 2 * 256, "declared_bytes": 100}


def test_what_a_kernel_declares_is_replaced_by_what_it_touches():
    found = roofline({"flops": 1e6, "bytes accessed": 5000.0}, PROGRAM, CHIPS["v5e"], 4, 1e6)
    assert found["bytes"] == 5000 + 2 * 2 * 256 - 100


def test_the_slower_of_products_and_memory_bounds_the_step():
    chip = CHIPS["v5e"]
    slow_memory = roofline({"flops": 197e12, "bytes accessed": 2 * 819e9}, "", chip, 4, 4 * 197e12)
    assert (slow_memory["limit"], slow_memory["seconds"]) == ("memory bandwidth", pytest.approx(2.0))
    assert slow_memory["mfu_bound"] == pytest.approx(0.5)
    slow_products = roofline({"flops": 2 * 197e12, "bytes accessed": 819e9}, "", chip, 4, 4 * 197e12)
    assert (slow_products["limit"], slow_products["mfu_bound"]) == ("compute", pytest.approx(0.5))


def test_every_micro_batch_of_a_step_counts():
    analysis, chip = {"flops": 197e12, "bytes accessed": 819e9}, CHIPS["v5e"]
    once, twice = (roofline(analysis, "", chip, 1, 197e12, rounds) for rounds in (1, 2))
    assert (twice["seconds"], twice["flops"], twice["mfu_bound"]) == (
        2 * once["seconds"],
        2 * once["flops"],
        once["mfu_bound"] / 2,
    )
