"""Faults of the server and of the network are answered with a sentence, and the server goes on."""

import asyncio
import base64
import concurrent.futures
import contextlib
import errno
import os
import pathlib
import socket
import subprocess
import threading
import time
import urllib.parse

import httpx
import pytest

pytest.importorskip("fastapi")

from hilight_jax.serving.videos.decoding import VideoLimits
from tests.serving.server import ask, listening, listening_to, served, serving, video_part


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


def test_too_many_videos_at_once_answer_429(run, film):
    with served(run, limits=VideoLimits(decoders=1, max_waiting=1)) as client:
        films = [base64.b64encode(film + bytes(number)).decode() for number in range(6)]
        asked = [[video_part(f"data:video/mp4;base64,{one}"), {"type": "text", "text": "x"}] for one in films]
        with concurrent.futures.ThreadPoolExecutor(6) as clients:
            found = [response.status_code for response in clients.map(lambda one: ask(client, one), asked)]
        assert set(found) == {200, 429}
        assert ask(client, asked[0]).status_code == 200


def connect(address):
    place = urllib.parse.urlsplit(address)
    client = socket.create_connection((place.hostname, place.port), timeout=20)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    client.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
    return client


def test_a_body_that_trickles_is_given_up(run):
    with listening(run, pause_seconds=0.3) as address, connect(address) as client:
        with contextlib.suppress(OSError):
            for _ in range(10):
                client.sendall(b" ")
                time.sleep(0.1)
        answer = client.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 408") and b"more slowly than 20,000 bytes a second" in answer


def test_bodies_that_never_end_keep_no_small_one_out(run):
    with listening(run, max_body_bytes=1000) as address, contextlib.ExitStack() as clients:
        for _ in range(9):
            clients.enter_context(connect(address)).sendall(b" " * 995)
        time.sleep(0.3)
        body = {"messages": [{"role": "user", "content": "what is hit?"}], "max_tokens": 2}
        assert httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).status_code == 200


def test_work_whose_client_has_left_is_given_up(run, monkeypatch):
    with serving(run) as (app, service), listening_to(app) as address:
        begun, ended = threading.Event(), threading.Event()

        async def wait(*_):
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        monkeypatch.setattr(service.films, "scan", wait)
        with contextlib.suppress(httpx.ReadTimeout):
            httpx.post(f"{address}/v1/moments", json={"video": {"url": "file-0"}, "text": "x"}, timeout=1.0)
        assert begun.is_set() and ended.wait(5)


@pytest.mark.parametrize(
    "body",
    [
        '{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}',
        '{"\\ud800": 1, "messages": [{"role": "user", "content": "x"}]}',
        '{"messages": [{"role": "user", "content": [{"type": "\\ud800"}]}]}',
        '{"messages": [{"role": "user", "content": "\\ud800"}]}',
    ],
)
def test_half_a_character_is_a_sentence(client, body):
    refused = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert refused.status_code in (400, 404) and refused.json()["error"]["message"]


def test_what_is_much_too_long_is_not_even_split_into_tokens(client, monkeypatch):
    monkeypatch.setattr("hilight_jax.generation.prompt.prompt_ids", None)
    monkeypatch.setattr("hilight_jax.generation.prompt.check_prompt", None)
    long = ask(client, "x" * 90_000)
    assert long.json()["error"]["code"] == "context_length_exceeded"
    assert "its 90,000 characters do not fit into" in long.json()["error"]["message"]


def test_the_decoder_has_no_keys_in_its_environment(run, film, monkeypatch):
    monkeypatch.setenv("HILIGHT_API_KEYS", "secret")
    known = []

    def start(*command, env, **rest):
        known.append(env)
        return popen(*command, env=env, **rest)

    popen = subprocess.Popen
    with served(run) as client:
        monkeypatch.setattr(subprocess, "Popen", start)
        assert client.post("/v1/files", files={"file": ("a.mp4", film)}).status_code == 200
    assert len(known) == 1 and "secret" not in known[0].values()


def test_a_decoder_that_cannot_be_started_is_a_sentence(run, film, monkeypatch):
    def none(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with served(run) as client:
        with monkeypatch.context() as broken:
            broken.setattr(subprocess, "Popen", none)
            refused = client.post("/v1/files", files={"file": ("a.mp4", film)})
        assert refused.status_code == 502 and "Too many open files" in refused.json()["error"]["message"]
        assert client.post("/v1/files", files={"file": ("a.mp4", film)}).status_code == 200
