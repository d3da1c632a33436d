"""The command on an index of three films: order, JSON, page, and what it refuses."""

import json
import os

import numpy as np
import pytest

import hilight_jax
from hilight_jax import index, search
from hilight_jax.archive.films import list_films
from hilight_jax.archive.store import open_store
from hilight_jax.core.errors import DataError
from tests.archive.films import write_films
from tests.serving.workdirs import make_encoder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    make_encoder(root / "encoder")
    write_films(root / "films", 3)
    given = ["--to", str(root / "index"), "--windows", "1", "--checkpoint", str(root / "encoder")]
    index.main([str(root / "films"), *given])
    return root


def found(world, capsys, *arguments):
    search.main([str(world / "index"), *map(str, arguments), "--json"])
    lines = capsys.readouterr().out.splitlines()
    return lines[:-1], json.loads(lines[-1])


def test_pieces_are_printed_with_film_time_and_score(world, capsys):
    lines, result = found(world, capsys, "the red ball is potted", "--top", 3)
    scores = [hit["score"] for hit in result["hits"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    assert set(result) == {"index", "text", "video", "hits"} and result["text"] == "the red ball is potted"
    assert set(result["hits"][0]) == {"film", "number", "start", "end", "stroke", "kind", "score"}
    first = result["hits"][0]
    assert lines[0].startswith(first["film"]) and lines[0].endswith(f"{scores[0]:.3f}")
    assert f"00:0{first['start']:.1f} - " in lines[0]
    model = hilight_jax.load(world / "encoder")
    rows = open_store(str(world / "index")).table.to_arrow().to_pylist()
    best = max(float(np.dot(row["vector"], model.encode_text("the red ball is potted"))) for row in rows)
    assert scores[0] == pytest.approx(best, abs=1e-5)


def test_a_film_finds_itself_and_both_count_half(world, capsys):
    short = next(film.path for film in list_films(world / "films").films if "film 0" in film.path)
    _, by_video = found(world, capsys, "--video", short, "--top", 6)
    assert by_video["hits"][0]["film"] == short and by_video["hits"][0]["score"] == pytest.approx(1, abs=1e-4)
    _, by_text = found(world, capsys, "a red ball", "--top", 6)
    _, by_both = found(world, capsys, "a red ball", "--video", short, "--top", 6)

    def scores(result):
        return {(hit["film"], hit["number"]): hit["score"] for hit in result["hits"]}

    for piece, score in scores(by_both).items():
        assert score == pytest.approx((scores(by_text)[piece] + scores(by_video)[piece]) / 2, abs=1e-5)


def test_the_page_has_a_strip_of_each(world, tmp_path, capsys):
    lines, result = found(world, capsys, "red <ball>", "--page", tmp_path / "out.html", "--top", 4)
    content = (tmp_path / "out.html").read_text()
    assert content.count("data:image/jpeg") == len(result["hits"]) == 4 and "red &lt;ball&gt;" in content
    assert os.path.basename(result["hits"][0]["film"]).replace("'", "&#x27;") in content
    assert lines[-1] == f"open {tmp_path / 'out.html'}"


def test_what_cannot_be_searched_is_refused(world, tmp_path):
    with pytest.raises(DataError, match="nothing to search for"):
        search.main([str(world / "index")])
    with pytest.raises(DataError, match="holds no index"):
        search.main([str(tmp_path), "red"])
    with pytest.raises(DataError, match="at least one word"):
        search.main([str(world / "index"), "?!"])
    with pytest.raises(DataError, match="does not exist"):
        search.main([str(world / "index"), "--video", str(tmp_path / "none.mp4")])
    with pytest.raises(DataError, match="was made with another model"):
        search.main([str(world / "index"), "red", "--checkpoint", "billiards-mini/encoder"])
