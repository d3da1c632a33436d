"""Searches in rows whose order is known."""

import numpy as np
import pytest

from hilight_jax.archive.results_page import write_results
from hilight_jax.archive.searching import Query, combine, prepare, search
from hilight_jax.archive.store import FilmRows, create_store
from hilight_jax.core.errors import DataError
from hilight_jax.core.progress import timestamp
from tests.archive.films import ABOUT

AXES = np.eye(8, dtype=np.float32)


def add(store, vectors, film="/films/a.mp4"):
    pieces = [(5.0 * i, 5.0 * i + 5, 5.0 * i + 1 if i else None, "stroke") for i in range(len(vectors))]
    store.add([FilmRows(film, (1, 2), "", 5.0, "", pieces, [b"strip"] * len(vectors), vectors)], [])


@pytest.fixture
def store(tmp_path):
    store = create_store(str(tmp_path / "index"), ABOUT)
    angles = np.linspace(0, np.pi / 2, 10)
    add(store, [np.cos(angle) * AXES[0] + np.sin(angle) * AXES[1] for angle in angles])
    return store


def test_pieces_are_found_in_the_order_of_their_cosines(store):
    hits = search(store, Query(AXES[0]), 4, strips=True)
    assert [hit.number for hit in hits] == [0, 1, 2, 3]
    np.testing.assert_allclose([hit.score for hit in hits], np.cos(np.linspace(0, np.pi / 2, 10)[:4]), atol=1e-6)
    assert (hits[1].start, hits[1].end, hits[1].stroke, hits[1].kind) == (5.0, 10.0, 6.0, "stroke")
    assert hits[0].stroke is None and hits[0].strip == b"strip" and hits[0].film == "/films/a.mp4"
    assert search(store, Query(AXES[0]), 1)[0].strip == b""
    assert len(search(store, Query(AXES[0]), 99)) == 10


def test_equal_scores_are_in_the_order_of_films_and_times(tmp_path):
    store = create_store(str(tmp_path / "index"), ABOUT)
    for film in ("/films/b.mp4", "/films/a.mp4"):
        add(store, [AXES[0], AXES[0]], film)
    assert [(hit.film[-5], hit.number) for hit in search(store, Query(AXES[0]), 4)] == [
        *(("a", 0), ("a", 1)),
        *(("b", 0), ("b", 1)),
    ]


def test_a_text_and_a_video_count_half_each(store):
    query = combine(AXES[0], AXES[1])
    hits = search(store, query, 10)
    assert {hit.number for hit in hits[:2]} == {4, 5}  # Between the two.
    angle = np.linspace(0, np.pi / 2, 10)[4]
    assert hits[0].score == pytest.approx((np.cos(angle) + np.sin(angle)) / 2)
    assert combine(AXES[0], None).scale == pytest.approx(1)


def test_a_search_for_nothing_is_refused(store):
    with pytest.raises(DataError, match="nothing to search for"):
        combine(None, None)
    with pytest.raises(DataError, match="opposites"):
        combine(AXES[0], -AXES[0])
    with pytest.raises(DataError, match="--top is 0"):
        search(store, Query(AXES[0]), 0)


def test_a_large_table_gets_an_index_that_finds_the_same_and_takes_new_rows(tmp_path):
    store, said = create_store(str(tmp_path / "index"), ABOUT), []
    rng = np.random.default_rng(0)

    def draw(count):
        vectors = rng.standard_normal((count, 8)).astype(np.float32)
        return list(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    prepare(store, said.append, rows=500)
    assert not said  # It is small.
    add(store, draw(600))
    prepare(store, said.append, rows=500)
    assert said == ["making the index of 600 vectors"]
    add(store, draw(50), "/films/b.mp4")
    for query in draw(5):
        found, exact = (search(store, Query(query), 5, exact) for exact in (False, True))
        assert [(hit.film, hit.number) for hit in found] == [(hit.film, hit.number) for hit in exact]
        np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in exact], atol=1e-5)
    prepare(store, said.append, rows=500)
    (made,) = store.table.list_indices()
    assert len(said) == 1 and store.table.index_stats(made.name).num_unindexed_rows == 0


def test_the_page_shows_strips_and_escapes_names(store, tmp_path):
    add(store, [AXES[7]], "/films/<b>.mp4")
    write_results(tmp_path / "pages" / "out.html", "red & <i>", "index", search(store, Query(AXES[7]), 1, strips=True))
    content = (tmp_path / "pages" / "out.html").read_text()
    assert "data:image/jpeg;base64,c3RyaXA=" in content and "00:00.0 – 00:05.0" in content
    assert "<b>" not in content.partition("<body>")[2].replace("<br>", "") and "red &amp; &lt;i&gt;" in content


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00.0"), (59.96, "01:00.0"), (125.34, "02:05.3"), (3725.3, "1:02:05.3")]
)
def test_times_are_minutes_and_seconds(seconds, text):
    assert timestamp(seconds) == text
