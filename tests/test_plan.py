"""The command ``plan``: its sentences, and real compiles for slices that this machine does not have."""

import importlib.util
import json

import pytest

from hilight_jax import plan
from hilight_jax.core.errors import UserError

COMPILER = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
SHRUNK = (
    "--config.batch_size=8",
    "--config.model.vision.depth=2",
    "--config.model.text.depth=2",
    "--config.data.num_frames=2",
    "--config.model.vision.num_frames=2",
)


def run(*arguments, capsys):
    """Runs the command; returns its exit code, its table and its JSON."""
    code = plan.main([*arguments, "--json"])
    *table, last = capsys.readouterr().out.splitlines()
    return code, "\n".join(table), json.loads(last)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--topology", "v5e:16x17"), "does not exist; v5e comes as"),
        (("--topology", "v9:2x2"), "names no known generation"),
        (("--topology", "v5e:2x2", "--slices", "0"), "--slices is 0"),
        (("--topology", "v5e:2x2", "--sweep", "--hlo", "x"), "--sweep compiles many programs"),
        (("--topology", "v5e:2x2", "--config.nonsense=1"), "nonsense"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_compiled(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        plan.main(["--config", "configs/encoder.py:b16", *arguments])


@pytest.mark.tpu_compiler
@COMPILER
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("--config.batch_size=6", "batch_size=6 does not divide over 4 batch shards"),
        ("--config.mesh.fsdp=3", "do not multiply to the 4 devices"),
    ],
)
def test_what_does_not_divide_over_the_slice_is_said(override, sentence):
    with pytest.raises(UserError, match=sentence):
        plan.main(["--config", "configs/encoder.py:b16", "--topology", "v5e:2x2", *SHRUNK, override])


@pytest.mark.tpu_compiler
@pytest.mark.slow
@COMPILER
def test_a_shrunk_encoder_on_four_chips(capsys, tmp_path):
    arguments = ("--config", "configs/encoder.py:b16", "--topology", "v5e:2x2", *SHRUNK, "--hlo", str(tmp_path / "hlo"))
    code, table, found = run(*arguments, capsys=capsys)
    assert code == 0 and found["fits"] and found["chips"] == 4
    assert "4 (v5e:2x2)" in table and "MFU bound (estimate)" in table
    assert sum(found["memory"].values()) == found["needed"] < found["capacity"]
    assert found["memory"]["trained"] == 4 * found["trained_parameters"]
    gradients = max(row["bytes"] for row in found["collectives"] if row["kind"] == "all-reduce")
    assert gradients >= 2 * found["trained_parameters"]
    assert 0 < found["roofline"]["mfu_bound"] < 1
    assert found["roofline"]["flops"] > found["model_flops"] / 4
    assert (tmp_path / "hlo").read_text().startswith("HloModule")


@pytest.mark.tpu_compiler
@pytest.mark.slow
@COMPILER
def test_what_does_not_fit_exits_with_1_and_says_what_to_change(capsys):
    big = ("--config.batch_size=8192", "--config.model.compute.remat=false", "--no_roofline")
    arguments = ("--config", "configs/encoder.py:b16", "--topology", "v5e:2x2", "--config.model.vision.depth=2", *big)
    code, table, found = run(*arguments, capsys=capsys)
    assert code == 1 and not found["fits"]
    assert "remat=true" in found["advice"] and "fits" in table


@pytest.mark.tpu_compiler
@pytest.mark.slow
@COMPILER
def test_the_real_encoder_on_256_chips(capsys):
    settings = ("--config.batch_size=8192", "--config.model.compute.remat=true", "--no_roofline")
    arguments = ("--config", "configs/encoder.py:b16", "--topology", "v5e:16x16", *settings)
    code, _, found = run(*arguments, capsys=capsys)
    assert code == 0 and found["fits"] and found["chips"] == 256 and found["batch_size"] == 8192
    # Gradients, gathered embeddings of both modalities and scalars: nothing as large as one clip's patches a chip.
    parameters, embeddings = 4 * found["trained_parameters"], 8192 * 512 * 4
    sent = sum(row["bytes"] for row in found["collectives"])
    assert sent <= 1.1 * (parameters + 4 * embeddings)
    patches = 12 * 196 * 768
    for row in found["collectives"]:
        for shape in row["largest"]:
            assert not shape.endswith(",2352,768]") and str(patches) not in shape
