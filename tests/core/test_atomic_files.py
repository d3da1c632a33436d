import pytest

from hilight_jax.core.atomic_files import whole_directory
from hilight_jax.core.errors import UserError


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
    (tmp_path / "out.partial" / "content").mkdir(parents=True)
    (tmp_path / "out.partial" / "content" / "old").write_text("x")
    (tmp_path / "out.partial" / "lock").touch()
    with whole_directory(tmp_path / "out") as place:
        assert list(place.iterdir()) == []
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_what_somebody_else_keeps_under_that_name_is_refused_and_untouched(tmp_path, kind):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.safetensors").write_text("dear")
    other = tmp_path / "out.partial"
    if kind == "directory":
        (tmp_path / "mine").rename(other)
    elif kind == "file":
        other.write_text("dear")
    else:
        other.symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="out.partial' is where .* something else is there"):
        with whole_directory(tmp_path / "out"):
            raise AssertionError
    kept = other if kind == "file" else other / "model.safetensors"
    assert kept.read_text() == "dear"


def test_two_writers_of_one_directory_do_not_meet(tmp_path):
    with whole_directory(tmp_path / "out") as place:
        (place / "file").write_text("x")
        with pytest.raises(UserError, match="out' is being written by another process"):
            with whole_directory(tmp_path / "out"):
                raise AssertionError
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


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
