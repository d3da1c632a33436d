"""Places of things over HTTP, found by the colours of a film: grey, with a red square that moves to the right."""

import base64

import numpy as np
import pytest

pytest.importorskip("fastapi")

from tests.data.clips import encode
from tests.serving.server import served

FRAMES, HEIGHT, WIDTH = 8, 64, 128


@pytest.fixture(scope="module")
def url():
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 128, np.uint8)
    for number, frame in enumerate(frames[:6]):  # In the last two it is gone.
        column = number // 2
        frame[16:32, 32 * column : 32 * column + 32] = (255, 0, 0)
    return {"url": "data:video/mp4;base64," + base64.b64encode(encode(frames)).decode()}


def located(client, **body):
    response = client.post("/v1/locate", json=body)
    return response.status_code, response.json()


def test_every_phrase_has_its_arrays(client, url):
    status, found = located(client, video=url, phrases=["the red ball", "blue ball"], frames=[0, 2, 5, 7])
    assert status == 200
    assert (found["width"], found["height"], found["num_total"]) == (WIDTH, HEIGHT, FRAMES)
    red, blue = found["data"]
    assert red["phrase"] == "the red ball" and red["frames"] == [0, 2, 5, 7]
    assert red["times"] == pytest.approx([0, 0.2, 0.5, 0.7], abs=1e-3)
    # Patches of 32 x 16 px: the square lies in the second row, in columns 0, 1 and 2.
    assert red["x"][:3] == pytest.approx([16, 48, 80], abs=1) and red["y"][:3] == pytest.approx([24] * 3, abs=1)
    assert red["seen"] == [True, True, True, False] and blue["seen"] == [False] * 4
    assert min(red["strength"][:3]) > 0.9 and red["reach"] == 0.75 * 24


def test_with_a_zoom_a_thing_is_found_in_the_pictures(client, url):
    status, found = located(client, video=url, phrases=["the red ball"], frames=[0, 2, 5], zoom=2)
    (red,) = found["data"]
    assert status == 200 and red["zoom"] == 2.0
    # Patches of 8 px now: the square covers 4 x 2 of them.
    assert red["reach"] == 0.75 * 8 and min(red["strength"]) > 0.9
    assert all(0 <= x <= 96 and 16 <= y <= 32 for x, y in zip(red["x"], red["y"], strict=True))
    assert located(client, video=url, phrases=["red"], zoom="auto")[1]["data"][0]["zoom"] in ("off", 1.0, 1.4, 2.0)
    assert located(client, video=url, phrases=["red"], zoom=[1, 2])[1]["data"][0]["zoom"] in (1.0, 2.0)
    assert located(client, video=url, phrases=["red"])[1]["data"][0]["zoom"] == "off"


def test_frames_may_be_a_number_and_are_the_models_own_by_default(client, url):
    own = located(client, video=url, phrases=["red"])[1]["data"][0]
    assert len(own["frames"]) == client.service.locating._videos._decoder._num_frames
    some = located(client, video=url, phrases=["red"], frames=4)[1]["data"][0]
    assert some["frames"] == [0, 2, 4, 7]


def test_the_things_of_a_text_are_found_each_once(client, url):
    asked = "Is the red ball left of the blue ball, and does the red ball move?"
    status, found = located(client, video=url, text=asked, frames=2)
    assert status == 200
    assert [each["phrase"] for each in found["data"]] == ["the red ball", "the blue ball"]
    assert located(client, video=url, text="And then?", frames=2)[1]["data"] == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"phrases": ["red"], "text": "red"}, "both 'phrases' and 'text' are given"),
        ({}, "neither 'phrases' nor 'text' is given"),
        ({"phrases": []}, "phrases"),
        ({"phrases": ["red"] * 17}, "phrases"),
        ({"phrases": [""]}, "phrases.0"),
        ({"phrases": ["red", "it"]}, "'it' names nothing that can be seen"),
        ({"phrases": ["red"], "frames": 0}, "frames"),
        ({"phrases": ["red"], "frames": 65}, "frames"),
        ({"phrases": ["red"], "frames": []}, "frames"),
        ({"phrases": ["red"], "frames": [-1]}, "frames.0"),
        ({"phrases": ["red"], "frames": ["x"]}, "frames.0"),
        ({"phrases": ["red"], "frames": [0, 8]}, "frame 8 was asked for, but the video has the frames 0 to 7"),
        ({"phrases": ["red"], "zoom": 0.5}, "zoom"),
        ({"phrases": ["red"], "zoom": 9}, "zoom"),
        ({"phrases": ["red"], "zoom": "often"}, "zoom"),
        ({"phrases": ["red"], "zoom": []}, "zoom"),
        ({"phrase": ["red"]}, "Did you mean 'phrases'"),
        ({"phrases": ["red"], "video": {"url": "file-0"}}, "neither the id of an uploaded file"),
    ],
)
def test_what_cannot_be_located_is_answered_with_a_sentence(client, url, body, sentence):
    status, answer = located(client, **{"video": url, **body})
    assert status == 400 and sentence in answer["error"]["message"]
    assert answer["error"]["message"].endswith((".", "?"))


def test_a_file_that_is_gone_is_not_found(client):
    assert located(client, video={"url": "file-" + "0" * 32}, phrases=["red"])[0] == 404


def test_without_an_encoder_it_says_so(run, url):
    with served(run, embedder=False) as client:
        status, answer = located(client, video=url, phrases=["red"])
        assert status == 400 and "this server has no encoder" in answer["error"]["message"]
        assert client.get("/v1/models").json()["data"][0]["locates"] is False
