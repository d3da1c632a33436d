"""The archive of a server: searched by a phrase, by a phrase and a video, and refused with sentences."""

import base64
import re
import shutil

import numpy as np
import pytest

pytest.importorskip("fastapi")

import hilight_jax
from hilight_jax import serve
from hilight_jax.archive.store import About, FilmRows, create_store
from hilight_jax.core.errors import DataError
from hilight_jax.runs.provenance import fingerprint
from tests.serving.server import LetterEmbedder, listening, served
from tests.serving.workdirs import make_chat_model, make_encoder

PHRASES = ("a red ball", "zebra crossing", "blue cushions")


def make_archive(uri, fingerprint="made up", width=8):
    """An index with one piece for each phrase, whose vector is the phrase's."""
    store = create_store(str(uri), About(fingerprint, "windows 5,5", 3, 16, width, "somewhere", 3))
    vectors = [LetterEmbedder().embed_text(phrase) for phrase in PHRASES] if width == 8 else [np.ones(width)]
    pieces = [(5.0 * i, 5.0 * i + 5, None, "window") for i in range(len(vectors))]
    store.add([FilmRows("/films/a.mp4", (1, 1), "", 15.0, "", pieces, [b"jpeg"] * len(vectors), vectors)], [])
    return store


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive") / "index")


@pytest.fixture(scope="module")
def client(run, archive):
    with served(run, archive=archive) as client:
        yield client


def search(client, **body):
    return client.post("/v1/search", json={"archive": True, **body})


@pytest.mark.parametrize("number", range(len(PHRASES)))
def test_a_phrase_finds_its_piece(client, number):
    found = search(client, text=PHRASES[number]).json()
    first = found["data"][0]
    assert found["object"] == "list" and len(found["data"]) == 3
    assert (first["film"], first["number"], first["start"], first["end"]) == (
        *("/films/a.mp4", number),
        *(5.0 * number, 5.0 * number + 5),
    )
    assert first["score"] == pytest.approx(1, abs=1e-5) and first["stroke"] is None and first["kind"] == "window"
    assert base64.b64decode(first["strip"].removeprefix("data:image/jpeg;base64,")) == b"jpeg"
    assert [hit["score"] for hit in found["data"]] == sorted((hit["score"] for hit in found["data"]), reverse=True)


def test_a_video_counts_half(client, film):
    url = client.post("/v1/files", files={"file": ("a.mp4", film)}).json()["id"]
    by_text = {hit["number"]: hit["score"] for hit in search(client, text="a red ball").json()["data"]}
    by_both = {
        hit["number"]: hit["score"] for hit in search(client, text="a red ball", videos=[{"url": url}]).json()["data"]
    }
    vector = np.array(client.post("/v1/embeddings", json={"input": [url]}).json()["data"][0]["embedding"])
    for number, phrase in enumerate(PHRASES):
        by_video = float(vector @ LetterEmbedder().embed_text(phrase))
        assert by_both[number] == pytest.approx((by_text[number] + by_video) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"text": "x", "top": 0}, "top"),
        ({"text": "x", "top": 101}, "top"),
        ({"text": ""}, "text"),
        ({"text": "x", "words": True}, "'words' cannot be looked for in the archive"),
        ({"text": "x", "videos": [{"url": "file-" + "0" * 32}] * 2}, "takes one video to find the like of, not 2"),
        ({"text": "x", "tops": 3}, "Did you mean 'top'"),
    ],
)
def test_what_cannot_be_searched_is_a_sentence(client, body, sentence):
    response = search(client, **body)
    assert response.status_code == 400 and re.search(sentence, response.json()["error"]["message"])


def test_a_server_without_an_archive_refuses_and_shows_no_field(run, client):
    assert client.get("/v1/models").json()["data"][0]["archive"] is True
    with served(run) as plain:
        assert plain.get("/v1/models").json()["data"][0]["archive"] is False
        response = search(plain, text="a red ball")
        assert response.status_code == 400 and "serve --index INDEX" in response.json()["error"]["message"]


def test_an_index_of_another_encoder_is_refused_at_the_start(tmp_path):
    make_chat_model(tmp_path / "align", make_encoder(tmp_path / "encoder"))
    model = hilight_jax.load(tmp_path / "align")
    own = make_archive(tmp_path / "own", fingerprint(model.encoder.params), 16)
    assert serve._archive(model, own.uri).count() == 1
    other = make_archive(tmp_path / "other", "another", 16)
    with pytest.raises(DataError, match="made with another model, step 3 of 'somewhere'"):
        serve._archive(model, other.uri)
    with pytest.raises(DataError, match="holds no index"):
        serve._archive(model, str(tmp_path / "none"))


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("chromium") or shutil.which("chromium-browser")), reason="there is no chromium")
def test_the_page_searches_the_archive(run, archive):
    from tests.serving.test_page import page_at

    with listening(run, archive=archive) as address, page_at(address) as page:
        page.fill("#sought", "zebra crossing")
        page.keyboard.press("Enter")
        page.locator(".found").first.wait_for()
        assert page.locator(".found .name").first.text_content() == "a.mp4, 00:05.0 – 00:10.0, 1.000"
        assert page.locator("#archive-state").text_content() == "3 pieces, the best first"
    with listening(run) as address, page_at(address) as page:
        assert page.locator("#archive").is_hidden()
