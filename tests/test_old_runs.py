"""Working directories and exports of version 0.1.0, made before the package was laid out anew, still load.

The archive holds an encoder and a chat model of random weights, tiny, and their exports in every format; each export
carries the outputs that version 0.1.0 computed for its fixed clip.
"""

import pathlib
import tarfile

import numpy as np
import pytest
from safetensors.numpy import load_file

import hilight_jax
from hilight_jax import convert, export
from hilight_jax.formats.exporting.exported_model import open_run
from hilight_jax.formats.exporting.reference_outputs import compute_reference_outputs
from hilight_jax.runs.workdir import read_values
from hilight_jax.stages.load_config import build_run
from hilight_jax.stages.start import check_workdir

ARCHIVE = pathlib.Path(__file__).parent / "goldens" / "workdirs_and_exports_0.1.0.tar.xz"


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    root = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    return root / "old"


@pytest.mark.parametrize(("run", "formats"), [("encoder", ["encoder"]), ("chat", ["huggingface", "stablehlo"])])
def test_an_old_run_computes_what_it_computed_then(old, run, formats):
    model = open_run(old / run, "latest", "float32", merge=True).model
    now = compute_reference_outputs(model)
    for format_ in formats:
        then = load_file(old / f"export-{format_}" / "fingerprint.safetensors")
        assert now.keys() == then.keys()
        for name, x in then.items():
            np.testing.assert_allclose(now[name], x, rtol=0, atol=1e-4 * np.abs(x).max(), err_msg=name)


@pytest.mark.parametrize("run", ["encoder", "chat"])
def test_an_old_run_resumes_and_loads_in_python(old, run):
    check_workdir(build_run(read_values(old / run)), old / run)
    embedding = hilight_jax.load(old / run).encode_text("the red ball")
    np.testing.assert_allclose(np.linalg.norm(embedding), 1, rtol=1e-5)


TORCH = [pytest.param(name, marks=pytest.mark.torch) for name in ("huggingface", "hilight", "encoder")]


@pytest.mark.parametrize("format_", ["stablehlo", *TORCH])
def test_an_old_export_is_verified_and_converted(old, tmp_path, format_):
    if format_ != "stablehlo":
        pytest.importorskip("torch")
    assert export.main(["--verify", str(old / f"export-{format_}")]) == 0
    assert convert.main([str(old / f"export-{format_}"), "--to", str(tmp_path / "back")]) == 0
    back = open_run(tmp_path / "back", "latest", "float32", merge=True).model.params
    run = open_run(old / ("encoder" if format_ == "encoder" else "chat"), "latest", "float32", merge=True).model.params
    assert set(back) == set(run)
