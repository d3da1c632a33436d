import json
import os

import pytest

from hilight_jax.archive.films import list_films, share_of
from hilight_jax.core.errors import DataError


def test_films_below_a_directory_are_listed_and_others_counted(tmp_path):
    for name in ("b.mp4", "more/A.MKV", "notes.txt", ".hidden.mp4", ".git/x.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"xy")
    listing = list_films(tmp_path)
    assert [film.path for film in listing.films] == [str(tmp_path / "b.mp4"), str(tmp_path / "more/A.MKV")]
    assert listing.films[0].size == 2 and listing.left_out == {".txt": 1, ".mp4": 1}


def test_a_manifest_names_films_relative_to_its_folder(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "films.txt").write_text(f"a.mp4\n\n{json.dumps({'video': 'gone.mp4'})}\na.mp4\n")
    first, second = list_films(tmp_path / "films.txt").films
    assert first.path == str(tmp_path / "a.mp4") and not first.fault
    assert "cannot be found" in second.fault


@pytest.mark.parametrize("line", ['{"film": "a.mp4"}', '{"video": 3}', "{broken", "a\0b"])
def test_a_line_that_names_no_film_is_refused_by_number(tmp_path, line):
    (tmp_path / "films.txt").write_text(f"a.mp4\n{line}\n")
    with pytest.raises(DataError, match="line 2"):
        list_films(tmp_path / "films.txt")


def test_a_place_without_films_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        list_films(tmp_path / "none")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="there is no film in .* It holds 1 other files"):
        list_films(tmp_path)
    (tmp_path / "list").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="no text in UTF-8"):
        list_films(tmp_path / "list")


def test_files_that_cannot_be_films_have_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "lost.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / os.fsdecode(b"\xff.mp4")).write_bytes(b"x")
    faults = {os.path.basename(film.path): film.fault for film in list_films(tmp_path).films}
    assert "no regular file" in faults["pipe.mp4"] and "cannot be found" in faults["lost.mp4"]
    assert "no text in UTF-8" in faults["\\xff.mp4"]


def test_every_film_belongs_to_one_process(tmp_path):
    for i in range(40):
        (tmp_path / f"{i}.mp4").write_bytes(b"x")
    films = list_films(tmp_path).films
    shares = [share_of(films, index, 3) for index in range(3)]
    assert sorted(film.path for share in shares for film in share) == [film.path for film in films]
    assert all(len(share) > 5 for share in shares)
