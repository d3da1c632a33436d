import ml_dtypes
import numpy as np
import pytest

from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import flatten, unflatten
from hilight_jax.formats.exporting.quantize import quantize, quantize_array


def test_hand_checkable_steps():
    x = np.array([[1.27, -2.54], [0.01, 0.0], [-0.004, 1.27]], np.float32)
    values, scale = quantize_array(x, axis=0)
    np.testing.assert_allclose(scale, [[0.01, 0.02]], rtol=1e-6)
    assert values.tolist() == [[127, -127], [1, 0], [0, 64]] or values.tolist() == [[127, -127], [1, 0], [0, 63]]
    assert (values.dtype, scale.dtype) == (np.int8, np.float32)


def test_an_output_of_zeros_stays_zeros():
    values, scale = quantize_array(np.zeros((4, 3), np.float32), axis=0)
    assert not values.any() and not scale.any()


def test_numbers_whose_scale_itself_is_rounded_keep_their_sign():
    tiny = np.float32(1e-45)  # The smallest there is: a scale can only be a whole multiple of it.
    values, scale = quantize_array(np.array([[190], [-100], [0]], np.float32) * tiny, axis=0)
    assert values.tolist() == [[127], [-100], [0]]
    assert scale.tolist() == [[tiny]]


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_nothing_is_off_by_more_than_half_a_step_of_its_own_output(axis, dtype):
    x = (np.random.default_rng(0).standard_normal((3, 16, 8)) * np.logspace(-3, 3, 8)).astype(dtype)
    values, scale = quantize_array(x, axis)
    assert np.abs(values).max() == 127
    assert (np.abs(values * scale - x.astype(np.float32)) <= scale / 2 * (1 + 1e-5)).all()


def test_a_tree_is_read_once_an_array_and_tells_what_was_lost():
    reads = []
    rng = np.random.default_rng(1)
    kernel, table = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 16, 8), (32, 16)))

    def lazily(name, x):
        return LazyArray(x.shape, x.dtype, lambda: reads.append(name) or x)

    norm = np.ones((2, 16), np.float32)
    layers = {"q_proj": {"kernel": lazily("kernel", kernel)}, "norm": {"scale": norm}}
    packed = quantize({"gemma": {"layers": layers, "embedder": {"table": lazily("table", table)}}})
    assert (reads, packed.errors()) == ([], {})
    pair = packed.params["gemma"]["layers"]["q_proj"]["kernel"]
    wide = np.asarray(pair["int8"]) * np.asarray(pair["scale"])
    rows = packed.params["gemma"]["embedder"]["table"]
    assert np.asarray(rows["scale"]).shape == (32, 1) and np.asarray(rows["int8"]).shape == (32, 16)
    assert sorted(reads) == ["kernel", "table"]
    assert packed.params["gemma"]["layers"]["norm"]["scale"] is norm
    widened = {"kernel": (wide, kernel)}
    widened["table"] = (np.asarray(rows["int8"]) * np.asarray(rows["scale"]), table)
    lost = [np.sqrt(np.mean((x - y) ** 2) / np.mean(y**2)) for x, y in widened.values()]
    assert packed.errors() == pytest.approx({"worst": max(lost), "mean": np.mean(lost)}, rel=1e-4)
    assert 0 < packed.errors()["mean"] < 0.01


def test_weights_that_are_all_zero_lost_nothing():
    packed = quantize({"gemma": {"embedder": {"table": np.zeros((4, 3), np.float32)}}})
    table = packed.params["gemma"]["embedder"]["table"]
    assert not (np.asarray(table["int8"]) * np.asarray(table["scale"])).any()
    assert packed.errors() == {"worst": 0.0, "mean": 0.0}


def test_towers_and_norms_stay_as_they_are():
    leaf = np.ones((2, 4, 4), np.float32)
    paths = (
        "vision/layers/q_proj/kernel",
        "gemma/layers/norm/scale",
        "gemma/final_norm/scale",
        "token_mining/fc/kernel",
    )
    params = unflatten(dict.fromkeys(paths, leaf))
    assert flatten(quantize(params).params).keys() == set(paths)
