"""An index after undisturbed, resumed and repeated runs; the encoder is a stand-in."""

import os
import time

import numpy as np
import pytest

from hilight_jax.archive import building
from hilight_jax.archive.building import make_plan
from hilight_jax.archive.film_reader import FilmReader
from hilight_jax.archive.films import list_films, share_of
from hilight_jax.archive.store import create_store
from hilight_jax.data.films.reader import PieceReader
from tests.archive.films import ABOUT, EFFORT, encode, index, rows_of, write_film, write_films


class Disturbed(FilmReader):
    """Hangs, crashes or goes on after the first piece of a film, by its name."""

    def __call__(self, film, send):
        def send_once(part):
            send(part)
            if "hang" in os.path.basename(film.path):
                time.sleep(60)
            if "crash" in os.path.basename(film.path):
                os._exit(1)

        return super().__call__(film, send_once)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return write_films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def undisturbed(films, tmp_path_factory):
    uri = tmp_path_factory.mktemp("index") / "whole"
    index(films, uri)
    return rows_of(uri)


def test_every_piece_of_every_film_is_a_row(films, undisturbed):
    rows, unreadable = undisturbed
    assert not unreadable and len(rows) == 1 + 2 + 3 + 4 + 5
    paths = [film.path for film in list_films(films).films]
    assert sorted({row["film"] for row in rows}) == paths
    for path in paths:
        mine = [row for row in rows if row["film"] == path]
        assert [row["number"] for row in mine] == list(range(len(mine)))
        assert [row["start"] for row in mine] == list(range(len(mine)))
        assert {(row["size"], row["mtime_ns"]) for row in mine} == {(os.stat(path).st_size, os.stat(path).st_mtime_ns)}
        assert all(len(row["hash"]) == 64 and row["strip"].startswith(b"\xff\xd8") for row in mine)
        (film,) = (film for film in list_films(films).films if film.path == path)
        parts = []
        FilmReader(PieceReader(ABOUT.rule, ABOUT.num_frames, ABOUT.image_size))(film, parts.append)
        np.testing.assert_allclose([row["vector"] for row in mine], encode(np.stack([p.frames for p in parts])))


@pytest.mark.parametrize("changes", [{"workers": 1}, {"batch_size": 1}, {"batch_size": 7, "commit_seconds": 99.0}])
def test_rows_do_not_depend_on_workers_batches_or_commits(films, undisturbed, tmp_path, changes):
    index(films, tmp_path / "index", EFFORT.__class__(**{**EFFORT.__dict__, **changes}))
    assert rows_of(tmp_path / "index") == undisturbed


def test_a_run_goes_on_with_the_films_that_are_missing(films, undisturbed, tmp_path):
    store = create_store(str(tmp_path / "index"), ABOUT)
    some = list_films(films).films[:2]
    building.fill(store, make_plan(store, some), encode, EFFORT)
    plan = make_plan(store, list_films(films).films)
    assert [film.path for film in plan.done] == [film.path for film in some] and len(plan.new) == 3
    building.fill(store, plan, encode, EFFORT)
    assert rows_of(tmp_path / "index") == undisturbed
    again = index(films, tmp_path / "index")
    assert (again.films, again.pieces) == (0, 0) and rows_of(tmp_path / "index") == undisturbed


def test_shares_of_two_processes_make_the_rows_of_one(films, undisturbed, tmp_path):
    for process in range(2):
        store = create_store(str(tmp_path / "index"), ABOUT)
        building.fill(store, make_plan(store, share_of(list_films(films).films, process, 2)), encode, EFFORT)
    assert rows_of(tmp_path / "index") == undisturbed


def test_a_changed_film_replaces_its_rows_and_a_copied_one_keeps_them(tmp_path):
    films = write_films(tmp_path / "films", 3)
    index(films, tmp_path / "index")
    before, _ = rows_of(tmp_path / "index")
    longer, copied, kept = (film.path for film in list_films(films).films)
    write_film(longer, seconds=6, seed=9)
    os.utime(copied, ns=(5, 5))
    tally = index(films, tmp_path / "index")
    assert (tally.films, tally.replaced, tally.same) == (1, 1, 1)
    after, _ = rows_of(tmp_path / "index")
    assert [row["number"] for row in after if row["film"] == longer] == list(range(6))
    assert [row for row in after if row["film"] == kept] == [row for row in before if row["film"] == kept]
    assert {row["mtime_ns"] for row in after if row["film"] == copied} == {5}
    index(films, tmp_path / "fresh")
    assert rows_of(tmp_path / "fresh") == rows_of(tmp_path / "index")
    write_film(longer, seconds=2, seed=9)  # Fewer rows than before: none of the old ones is left.
    index(films, tmp_path / "index")
    assert [row["number"] for row in rows_of(tmp_path / "index")[0] if row["film"] == longer] == [0, 1]


def test_damaged_films_are_listed_once_and_read_again_when_they_change(tmp_path):
    films = write_films(tmp_path / "films", 2)
    (films / "none.mp4").write_bytes(b"no film")
    whole = write_film(films / "cut.mkv", seconds=4).read_bytes()
    (films / "cut.mkv").write_bytes(whole[: len(whole) * 3 // 5])
    tally = index(films, tmp_path / "index")
    none, cut = str(films / "none.mp4"), str(films / "cut.mkv")
    assert sorted(tally.problems) == [cut, none] and "not a readable video" in tally.problems[none]
    assert "the end is missing" in tally.problems[cut] and "indexed up to" in tally.problems[cut]
    rows, unreadable = rows_of(tmp_path / "index")
    assert list(unreadable) == [none] and {r["problem"] for r in rows if r["film"] == cut} == {tally.problems[cut]}
    assert not index(films, tmp_path / "index").problems  # Known, and not tried again.
    assert list(index(films, tmp_path / "index", retry=True).problems) == [none]
    write_film(none, seconds=1)
    assert index(films, tmp_path / "index").films == 1
    assert not rows_of(tmp_path / "index")[1]


def test_a_film_that_is_spoiled_later_keeps_its_rows_and_is_listed(tmp_path):
    films = write_films(tmp_path / "films", 2)
    index(films, tmp_path / "index")
    rows, _ = rows_of(tmp_path / "index")
    spoiled = list_films(films).films[0].path
    with open(spoiled, "wb") as file:
        file.write(b"spoiled")
    index(films, tmp_path / "index")
    assert rows_of(tmp_path / "index")[0] == rows and list(rows_of(tmp_path / "index")[1]) == [spoiled]


def test_a_film_that_hangs_or_crashes_its_process_is_listed_and_read_again_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "FilmReader", Disturbed)
    films = tmp_path / "films"
    films.mkdir()
    for name in ("hang", "crash", "whole"):
        write_film(films / f"{name}.mp4", seconds=2)
    effort = EFFORT.__class__(workers=2, time_limit=3.0, batch_size=4)
    tally = index(films, tmp_path / "index", effort)
    problems = {os.path.basename(path): problem for path, problem in tally.problems.items()}
    assert "not read within 3 seconds" in problems["hang.mp4"] and "crashed" in problems["crash.mp4"]

    def counts():
        held = [row["film"] for row in rows_of(tmp_path / "index")[0]]
        return [held.count(str(films / f"{name}.mp4")) for name in ("hang", "crash", "whole")]

    assert counts() == [0, 0, 2]
    monkeypatch.undo()
    index(films, tmp_path / "index")
    assert counts() == [0, 0, 2]
    index(films, tmp_path / "index", retry=True)
    assert counts() == [2, 2, 2] and not rows_of(tmp_path / "index")[1]


def test_an_index_that_is_killed_between_two_tables_is_mended(tmp_path):
    films = write_films(tmp_path / "films", 1)
    index(films, tmp_path / "index")
    store = create_store(str(tmp_path / "index"), ABOUT)
    ((path, film),) = store.films().items()
    store.note_unreadable({path: film._replace(stamp=(1, 1), problem="it was broken once.")})
    index(films, tmp_path / "index")
    assert not rows_of(tmp_path / "index")[1]
