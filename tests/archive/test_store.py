import dataclasses
import sys

import pytest

from hilight_jax.archive.store import check_same, create_store, find_store, open_store
from hilight_jax.core.errors import DataError, UserError
from tests.archive.films import ABOUT


def test_an_index_keeps_its_model_and_settings(tmp_path):
    create_store(str(tmp_path / "index"), ABOUT)
    assert open_store(str(tmp_path / "index")).about == ABOUT
    moved = dataclasses.replace(ABOUT, checkpoint="elsewhere", step=7)
    check_same(open_store(str(tmp_path / "index")), moved)  # The place of a model is no part of it.


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fingerprint": "another"}, "made with another model, step 1 of 'runs/tiny'"),
        ({"rule": "windows 5,5"}, "made with rule windows 1,1, not windows 5,5"),
        ({"num_frames": 6, "image_size": 64}, "made with num_frames 3, image_size 16, not 6, 64"),
    ],
)
def test_another_model_or_other_settings_are_refused(tmp_path, changes, sentence):
    create_store(str(tmp_path / "index"), ABOUT)
    with pytest.raises(DataError, match=sentence):
        create_store(str(tmp_path / "index"), dataclasses.replace(ABOUT, **changes))


def test_what_is_no_index_is_refused(tmp_path):
    assert find_store(str(tmp_path / "none")) is None
    with pytest.raises(DataError, match="holds no index; make one by"):
        open_store(str(tmp_path))
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file"):
        open_store(str(tmp_path / "file"))
    import lancedb

    lancedb.connect(str(tmp_path / "other")).create_table("pieces", data=[{"a": 1}])
    with pytest.raises(DataError, match="no index of films"):
        open_store(str(tmp_path / "other"))


def test_a_damaged_index_is_one_sentence(tmp_path):
    create_store(str(tmp_path / "index"), ABOUT)
    for file in (tmp_path / "index").rglob("*.manifest"):
        file.write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read or written"):
        open_store(str(tmp_path / "index")).count()


def test_without_lancedb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(UserError, match=r"pip install 'hilight_jax\[archive\]'"):
        create_store(str(tmp_path / "index"), ABOUT)
