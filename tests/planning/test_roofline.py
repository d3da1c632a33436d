"""The roofline of a small program."""

import pytest

from hilight_jax.planning.hlo import kernel_costs
from hilight_jax.planning.roofline import roofline
from hilight_jax.planning.topologies import CHIPS

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
    assert found.bytes == 5000 + 2 * 2 * 256 - 100


def test_the_slower_of_products_and_memory_bounds_the_step():
    chip = CHIPS["v5e"]
    slow_memory = roofline({"flops": 197e12, "bytes accessed": 2 * 819e9}, "", chip, 4, 4 * 197e12)
    assert (slow_memory.limit, slow_memory.seconds) == ("memory bandwidth", pytest.approx(2.0))
    assert slow_memory.mfu_bound == pytest.approx(0.5)
    slow_products = roofline({"flops": 2 * 197e12, "bytes accessed": 819e9}, "", chip, 4, 4 * 197e12)
    assert (slow_products.limit, slow_products.mfu_bound) == ("compute", pytest.approx(0.5))


def test_every_micro_batch_of_a_step_counts():
    analysis, chip = {"flops": 197e12, "bytes accessed": 819e9}, CHIPS["v5e"]
    once, twice = (roofline(analysis, "", chip, 1, 197e12, rounds) for rounds in (1, 2))
    assert (twice.seconds, twice.flops, twice.mfu_bound) == (2 * once.seconds, 2 * once.flops, once.mfu_bound / 2)
