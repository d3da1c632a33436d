"""The framework itself: what it must not let pass."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.parity import tolerances
from tests.parity.case import Case


@pytest.fixture
def sidecar(tmp_path):
    """A case of three numbers and a gradient."""
    path = tmp_path / "small.json"
    path.write_text(json.dumps({"kind": "clip_vip_losses", "config": {"B": 3}}))
    tensors = {
        "inputs/x": np.array([1, 2, 3], np.float32),
        "outputs/NCELearnableTempLoss": np.array([4, 5, 6], np.float32),
        "grads/HardNegLoss.x": np.array([2], np.float32),
    }
    save_file(tensors, path.with_suffix(".safetensors"))
    return path


def test_a_tensor_that_no_rule_matches_fails_by_name(sidecar):
    case = Case(sidecar, "float64")
    case.input("x")
    with pytest.raises(AssertionError, match="outputs/NCELearnableTempLoss: matched by no rule"):
        case.finish()


def test_a_deviation_past_the_tolerance_fails_by_name(sidecar):
    allowed = {"float64": 6e-6 + 1e-9, "float32": 18e-5 + 2e-6}
    for dtype, bound in allowed.items():
        for error, passes in ((0.9 * bound, True), (1.1 * bound, False)):
            case = Case(sidecar, dtype)
            case.input("x")
            case.compare("outputs/NCELearnableTempLoss", np.array([4, 5, 6]) + error)
            if passes:
                case.finish()
            else:
                with pytest.raises(AssertionError, match="outputs/NCELearnableTempLoss: off by"):
                    case.finish()


def test_shapes_infinities_and_inexact_integers_fail(sidecar):
    case = Case(sidecar, "float32")
    case.compare("inputs/x", np.zeros((3, 1)))
    case.compare("outputs/NCELearnableTempLoss", np.array([4, np.nan, 6]))
    case.exact("grads/HardNegLoss.x", np.array([3]))
    with pytest.raises(AssertionError) as failure:
        case.finish()
    assert [line.split(":")[0] for line in str(failure.value).splitlines()[1:]] == [
        "inputs/x",
        "outputs/NCELearnableTempLoss",
        "grads/HardNegLoss.x",
    ]


def test_the_two_losses_of_the_shipped_configs_are_ours():
    for name, ours in {
        "outputs/NCELearnableTempLoss": True,
        "grads/NCELearnableTempLoss_vsc_fc.cap_feat": True,
        "outputs/NCELearnableTempLoss_vsc": False,
        "grads/NCELearnableTempDSLLoss.vis_feat": False,
        "outputs/logit_scale_clamp_example_out": True,
        "inputs/img_feat": True,
        "inputs/img_feat_extra": False,
    }.items():
        assert tolerances.is_not_ours("clip_vip_losses", name) is not ours, name
