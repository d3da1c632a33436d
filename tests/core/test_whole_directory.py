import pytest

from hilight_jax.core.errors import UserError
from hilight_jax.core.whole_directory import whole_directory


def test_the_directory_appears_when_the_block_ends(tmp_path):
    with whole_directory(tmp_path / "a" / "b") as place:
        (place / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_or_ctrl_c_nothing_is_left(tmp_path, error):
    with pytest.raises(error), whole_directory(tmp_path / "out") as place:
        (place / "file").write_text("x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "old").write_text("x")
    with whole_directory(tmp_path / "out") as place:
        assert list(place.iterdir()) == []
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize("kind", ["directory", "file", "dangling link"])
def test_an_existing_destination_is_refused_and_untouched(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "directory":
        out.mkdir()
    elif kind == "file":
        out.write_text("mine")
    else:
        out.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="out' exists already; name a directory"), whole_directory(out):
        raise AssertionError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"will take 1000000000\.0 GB, but its disk has .* GB left"):
        with whole_directory(tmp_path / "out", 10**18):
            raise AssertionError
    assert list(tmp_path.iterdir()) == []
