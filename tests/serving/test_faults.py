"""What goes wrong on the server's side or on the way is a sentence, and passes."""

import base64
import concurrent.futures
import errno
import os
import pathlib
import socket
import urllib.parse

import numpy as np
import pytest

pytest.importorskip("fastapi")

from hilight_jax.serving.video_limits import VideoLimits
from tests.data.clips import encode
from tests.serving.server import ask, listening, served, small_run, video_part


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("run") / "small")


@pytest.fixture(scope="module")
def client(run):
    with served(run) as client:
        yield client


@pytest.fixture(scope="module")
def film():
    rng = np.random.default_rng(0)
    return encode(rng.integers(0, 256, (20, 48, 64, 3), np.uint8))


def test_a_body_that_stops_coming_is_given_up(run):
    with listening(run, pause_seconds=0.3) as address:
        place = urllib.parse.urlsplit(address)
        with socket.create_connection((place.hostname, place.port), timeout=10) as client:
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: 50\r\n\r\n{{".encode())
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
        assert answer.startswith(b"HTTP/1.1 408") and b"the body stopped coming for 0.3 s" in answer


def test_a_conversation_that_is_too_long_has_openais_code(client):
    assert ask(client, "x " * 3000).json()["error"]["code"] == "context_length_exceeded"
    assert ask(client, "").json()["error"]["code"] is None


def test_what_the_model_cannot_do_is_the_servers_fault(client, monkeypatch):
    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(client.engine.generator, "read_prompt", fail)
        failed = ask(client)
        streamed = ask(client, stream=True).text
    assert failed.status_code == 500 and "the model failed on this request" in failed.json()["error"]["message"]
    assert '"server_error"' in streamed and streamed.endswith("data: [DONE]\n\n")
    assert ask(client).status_code == 200


def test_a_full_disk_is_a_sentence(client, film, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = client.get("/v1/files").json()
    with monkeypatch.context() as broken:
        broken.setattr(pathlib.Path, "write_bytes", full)
        refused = client.post("/v1/files", files={"file": ("a.mp4", film)})
    assert refused.status_code == 507 and "No space left" in refused.json()["error"]["message"]
    assert client.get("/v1/files").json() == before


def test_a_video_that_is_deleted_while_it_waits_is_unknown(run, film):
    with served(run, limits=VideoLimits(decoders=1)) as client:
        stored = client.post("/v1/files", files={"file": ("a.mp4", film)}).json()["id"]
        client.service.videos.path(stored).unlink()
        gone = client.post("/v1/moments", json={"video": {"url": stored}, "text": "x"})
        assert gone.status_code == 400 and "it was deleted before it was read" in gone.json()["error"]["message"]


def test_too_many_videos_at_once_are_told_to_come_again(run, film):
    with served(run, limits=VideoLimits(decoders=1, max_waiting=1)) as client:
        films = [base64.b64encode(film + bytes(number)).decode() for number in range(6)]
        asked = [[video_part(f"data:video/mp4;base64,{one}"), {"type": "text", "text": "x"}] for one in films]
        with concurrent.futures.ThreadPoolExecutor(6) as clients:
            found = [response.status_code for response in clients.map(lambda one: ask(client, one), asked)]
        assert set(found) == {200, 429}
        assert ask(client, asked[0]).status_code == 200
