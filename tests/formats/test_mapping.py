"""Name tables: strict by name and shape, and exact both ways."""

import numpy as np
import pytest

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.trees import flatten
from hilight_jax.formats.mapping import LEADING_ONE, LINEAR, PATCH_CONV, Entry, export_weights, import_weights

TABLE = (
    Entry("stack/kernel", "layers.{layer}.weight", LINEAR),
    Entry("patch/kernel", "conv.weight", PATCH_CONV),
    Entry("time", "time", LEADING_ONE),
    Entry("scale", "scale"),
)


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    shapes = {"layers.0.weight": (3, 2), "layers.1.weight": (3, 2), "conv.weight": (5, 3, 2, 2), "time": (1, 4, 5)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} | {
        "scale": np.float32(2.0).reshape(())
    }


@pytest.fixture
def template():
    shapes = {"stack": {"kernel": (2, 2, 3)}, "patch": {"kernel": (12, 5)}, "time": (4, 5), "scale": ()}
    return {
        name: {k: np.zeros(s, np.float32) for k, s in x.items()} if isinstance(x, dict) else np.zeros(x, np.float32)
        for name, x in shapes.items()
    }


def test_layouts_by_hand(weights, template):
    ours = import_weights(TABLE, weights, template)
    np.testing.assert_array_equal(ours["stack"]["kernel"][1], weights["layers.1.weight"].T)
    conv = weights["conv.weight"]
    row, column, colour, out = 1, 0, 2, 4
    assert ours["patch"]["kernel"][(row * 2 + column) * 3 + colour, out] == conv[out, colour, row, column]
    np.testing.assert_array_equal(ours["time"], weights["time"][0])


def test_there_and_back_is_bitwise(weights, template):
    back = export_weights(TABLE, import_weights(TABLE, weights, template))
    assert back.keys() == weights.keys()
    for name, x in weights.items():
        assert back[name].shape == x.shape
        assert back[name].tobytes() == x.tobytes()


def test_every_missing_extra_and_misshaped_name_is_reported(weights, template):
    del weights["layers.1.weight"]
    weights["layers.2.weight"] = weights["layers.0.weight"]
    weights["time"] = weights["time"][0]
    with pytest.raises(CheckpointError) as error:
        import_weights(TABLE, weights, template)
    sentence = str(error.value)
    assert "(3 names)" in sentence
    assert "'layers.1.weight' is missing" in sentence
    assert "'layers.2.weight' is not part of this model" in sentence
    assert "'time' has shape (4, 5), expected (1, 4, 5)" in sentence


def test_a_path_without_a_foreign_name_is_an_error_both_ways(weights, template):
    template["head"] = np.zeros(3, np.float32)
    with pytest.raises(CheckpointError, match="'head' has no foreign name"):
        import_weights(TABLE, weights, template)
    with pytest.raises(CheckpointError, match="'head' has no foreign name"):
        export_weights(TABLE, template)


def test_a_part_is_imported_by_a_template_of_that_part(weights, template):
    part = {"stack": template["stack"]}
    kept = {name: x for name, x in weights.items() if name.startswith("layers.")}
    assert list(flatten(import_weights(TABLE, kept, part))) == ["stack/kernel"]
