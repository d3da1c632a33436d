import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.formats.checkpoint_files import open_foreign

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones((), ml_dtypes.bfloat16)}


def write_sharded(directory, weight_map=None):
    directory.mkdir(exist_ok=True)
    for i, (name, x) in enumerate(ARRAYS.items()):
        save_file({name: x}, directory / f"model-{i}.safetensors")
    places = weight_map or {"a": "model-0.safetensors", "b": "model-1.safetensors"}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return directory


def test_one_file_and_a_sharded_directory_hold_the_same(tmp_path):
    save_file(ARRAYS, tmp_path / "x.safetensors")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "config.json").write_text('{"model_type": "x"}')
    whole, cut = open_foreign(tmp_path / "x.safetensors"), open_foreign(write_sharded(tmp_path / "dir"))
    for found in (whole, cut):
        assert set(found.weights) == {"a", "b"}
        for name, x in ARRAYS.items():
            assert (found.weights[name].shape, found.weights[name].dtype) == (x.shape, x.dtype)
            np.testing.assert_array_equal(np.asarray(found.weights[name]), x)
    assert (whole.config, cut.config) == ({}, {"model_type": "x"})
    assert [file.name for file in cut.files] == ["model-0.safetensors", "model-1.safetensors"]


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda d: (d / "model-1.safetensors").unlink(), "names 2 files, of which 1 are missing: model-1.safetensors"),
        (
            lambda d: (d / "model-0.safetensors").write_bytes((d / "model-0.safetensors").read_bytes()[:-4]),
            "model-0.safetensors' is no whole safetensors file",
        ),
        (lambda d: (d / "model-0.safetensors").write_bytes(b"hello"), "is no whole safetensors file"),
        (lambda d: (d / "model.safetensors.index.json").write_text("{"), "is not JSON"),
        (lambda d: (d / "model.safetensors.index.json").write_text("{}"), "has no 'weight_map'"),
        (lambda d: write_sharded(d, {"a": "model-1.safetensors"}), "promises 1 arrays .* 'a' in 'model-1.safetensors'"),
        (lambda d: write_sharded(d, {"a": "../../etc/passwd"}), "lies outside its directory; refused"),
        (lambda d: write_sharded(d, {"a": "/etc/passwd"}), "lies outside its directory; refused"),
        (lambda d: write_sharded(d, {"a": "../linked.safetensors"}), "lies outside its directory; refused"),
        (lambda d: write_sharded(d, {"a": "x\0y"}), "lies outside its directory; refused"),
    ],
    ids=[
        *("a shard is gone", "a shard is cut", "no safetensors", "index", "empty index", "lies"),
        *("outside", "absolute", "a link outside", "no name"),
    ],
)
def test_a_damaged_directory_is_one_sentence(tmp_path, break_it, sentence):
    directory = write_sharded(tmp_path / "dir")
    (tmp_path / "linked.safetensors").symlink_to(directory / "model-0.safetensors")
    break_it(directory)
    with pytest.raises(CheckpointError, match=sentence):
        open_foreign(directory)


def test_an_array_that_the_index_does_not_list_is_not_dropped(tmp_path):
    places = {"a": "model-0.safetensors"}
    save_file(ARRAYS | {"c": np.ones(2)}, write_sharded(tmp_path / "dir", places) / "model-0.safetensors")
    assert set(open_foreign(tmp_path / "dir").weights) == {"a", "b", "c"}


def test_a_file_that_vanishes_after_it_was_opened_is_named(tmp_path):
    save_file(ARRAYS, tmp_path / "x.safetensors")
    found = open_foreign(tmp_path / "x.safetensors").weights["a"]
    (tmp_path / "x.safetensors").unlink()
    with pytest.raises(CheckpointError, match="'a' in '.*x.safetensors' cannot be read any more"):
        found.read()


def test_an_empty_directory_and_a_missing_one_say_what_is_looked_for(tmp_path):
    with pytest.raises(CheckpointError, match="holds no weights: none of model.safetensors, .*pytorch_model.bin"):
        open_foreign(tmp_path)
    with pytest.raises(CheckpointError, match="there is no file or directory"):
        open_foreign(tmp_path / "nowhere")
