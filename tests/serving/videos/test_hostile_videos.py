import base64
import io
import os
import re
import time
from fractions import Fraction

import av
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from hilight_jax.benchmarks import server_load
from hilight_jax.serving.videos.decoding import VideoLimits
from tests.serving.server import ANSWER, served, small_run, video_part


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    limits = VideoLimits(decode_seconds=2.0, decode_memory_bytes=2 * 2**30)
    with served(small_run(tmp_path_factory.mktemp("run") / "small"), limits=limits) as client:
        yield client


def jpeg(width, height):
    content = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 9)).save(content, "JPEG")
    return content.getvalue()


def film(pictures, rate=10):
    """A film whose header says 64 x 48, whatever its pictures have."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as output:
        stream = output.add_stream("mjpeg", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number, picture in enumerate(pictures):
            packet = av.Packet(picture)
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = Fraction(1, rate)
            packet.is_keyframe = True
            output.mux(packet)
    return file.getvalue()


def show(client, content):
    message = [video_part("data:video/avi;base64," + base64.b64encode(content).decode())]
    message.append({"type": "text", "text": "what is hit?"})
    return client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": message}], **ANSWER})


def test_a_film_made_so_is_read():
    with av.open(io.BytesIO(film([jpeg(64, 48)] * 12))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12


def test_a_hundred_thousand_pictures_hold_nobody_up(client):
    content = film([jpeg(64, 48)] * 100_000, rate=1000)
    began = time.monotonic()
    assert show(client, content).status_code in (200, 400, 502)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: film([jpeg(64, 48), *[jpeg(20000, 20000)] * 6]), "6 of its 7 packets do not decode"),
        (lambda: film([jpeg(64, 48), *[jpeg(9000, 9000)] * 40]), "memory|decoder was stopped|do not decode"),
    ],
    ids=["huge pictures", "large pictures"],
)
def test_a_bomb_is_a_sentence_and_takes_little(client, make, sentence):

    content = make()
    before, began = server_load.usage(os.getpid()), time.monotonic()
    response = show(client, content)
    assert response.status_code in (400, 413, 502), response.text
    assert re.search(sentence, response.json()["error"]["message"]), response.text
    assert time.monotonic() - began < 30
    assert server_load.usage(os.getpid())["children"] <= before["children"]
    assert client.get("/health").status_code == 200
