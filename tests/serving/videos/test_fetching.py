import re

import pytest

pytest.importorskip("fastapi")

import numpy as np

from hilight_jax.serving.videos.decoding import VideoLimits
from tests.data.clips import encode
from tests.serving.server import ANSWER, served, small_run, video_part
from tests.serving.videos.hosts import host


@pytest.fixture(scope="module")
def film():
    return encode(np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def trouble(film):
    with host(film) as (name, asked):
        yield name, asked


@pytest.fixture(scope="module")
def client(tmp_path_factory, trouble):
    limits = VideoLimits(allowed_hosts=(trouble[0],), fetch_seconds=1.0, max_bytes=3_000_000)
    with served(small_run(tmp_path_factory.mktemp("run") / "small"), limits=limits) as client:
        yield client


def show(client, url):
    message = {"role": "user", "content": [video_part(url), {"type": "text", "text": "what?"}]}
    return client.post("/v1/chat/completions", json={"messages": [message], **ANSWER})


def test_a_video_comes_from_a_host_that_is_allowed(client, trouble):
    assert show(client, f"http://{trouble[0]}/film").status_code == 200


@pytest.mark.parametrize(
    "to", ["http://169.254.169.254/latest/meta-data", "http://localhost:1/film", "file:///etc/passwd"]
)
def test_a_redirect_is_not_followed(client, trouble, to):
    response = show(client, f"http://{trouble[0]}/redirect?to={to}")
    assert response.status_code == 403
    assert "redirects elsewhere, which is not followed" in response.json()["error"]["message"]


def test_a_redirect_to_the_same_host_is_not_followed_either(client, trouble):
    name, asked = trouble
    before = asked.count("/film")
    assert show(client, f"http://{name}/redirect?to=http://{name}/film").status_code == 403
    assert asked.count("/film") == before


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("endless", 413, "more than the 3 MB"),
        ("slow", 400, "cannot be fetched .*TimeoutError"),
        ("packed", 400, "no video that can be read"),
        ("missing", 400, "answers 404"),
    ],
)
def test_what_a_host_may_do_is_answered_with_a_sentence(client, trouble, path, status, sentence):
    response = show(client, f"http://{trouble[0]}/{path}")
    assert response.status_code == status
    assert re.search(sentence, response.json()["error"]["message"])
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://user:word@{}/film",
        "http://{}@169.254.169.254/film",
        "http://0x7f000001/film",
        "http://2130706433/film",
        "http://[::1]/film",
        "http://[::ffff:127.0.0.1]/film",
        "http://127.0.0.1/film",
        "https://127.0.0.1:1/film",
        "http://{}.example.com/film",
        "http:///film",
    ],
)
def test_another_spelling_of_a_host_is_another_host(client, trouble, url):
    name, asked = trouble
    before = len(asked)
    response = show(client, url.format(name))
    assert response.status_code in (400, 403), response.text
    assert len(asked) == before
