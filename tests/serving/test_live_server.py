import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi")

from hilight_jax.benchmarks import server_load
from tests.data.clips import encode
from tests.serving.live import live, question
from tests.serving.server import video_part

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(run):
    with live(run, "--slots", "4") as found:
        yield found


def running(address):
    """Answers in progress, as the metrics count them."""
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("hilight_running "))


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def test_the_official_client_works_unchanged(server):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server[0]}/v1", api_key="any")
    name = client.models.list().data[0].id
    film = encode(np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8))
    stored = client.files.create(file=("a.mp4", film), purpose="user_data")
    content = [video_part(stored.id), {"type": "text", "text": "what is hit?"}]
    talk = [{"role": "user", "content": content}]
    whole = client.chat.completions.create(model=name, messages=talk, max_tokens=8)
    pieces = client.chat.completions.create(
        model=name, messages=talk, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    pieces = list(pieces)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == whole.choices[0].message.content
    assert pieces[-1].usage == whole.usage
    with pytest.raises(openai.NotFoundError, match="there is no file"):
        client.files.retrieve("file-" + "0" * 32)
    assert client.files.delete(stored.id).deleted


def test_the_official_client_comes_to_the_end_of_the_list_of_files(server):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server[0]}/v1", api_key="any")
    film = encode(np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8))
    stored = [client.files.create(file=(f"{i}.mp4", film), purpose="user_data").id for i in range(3)]
    assert [file.id for file in client.files.list(limit=2)][-3:] == stored
    for one in stored:
        client.files.delete(one)


def test_a_client_that_leaves_in_the_middle_frees_its_slot(server):
    address, _ = server
    with httpx.stream(
        "POST", f"{address}/v1/chat/completions", json=question(max_tokens=400, stream=True), timeout=60
    ) as response:
        next(response.iter_lines())
    wait_until(lambda: running(address) == 0)
    assert httpx.post(f"{address}/v1/chat/completions", json=question(max_tokens=2), timeout=60).status_code == 200


def test_clients_that_say_nothing_or_speak_slowly_hold_nobody_up(server):
    address, _ = server
    place = urllib.parse.urlsplit(address)
    silent = [socket.create_connection((place.hostname, place.port)) for _ in range(40)]
    for one in silent[:20]:
        one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
    began = time.monotonic()
    assert httpx.post(f"{address}/v1/chat/completions", json=question(max_tokens=2), timeout=10).status_code == 200
    assert time.monotonic() - began < 10
    for one in silent:
        one.close()


def test_a_body_without_an_end_is_cut_off(server):
    address, process = server
    before = server_load.usage(process.pid)["memory_mb"]

    def endless():
        while True:
            yield bytes(1 << 20)

    with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # The server hangs up in the middle of it.
        assert httpx.post(f"{address}/v1/chat/completions", content=endless(), timeout=60).status_code == 413
    assert httpx.get(f"{address}/health").status_code == 200
    assert server_load.usage(process.pid)["memory_mb"] < before + 600


def test_a_load_of_clients_gets_every_answer_right_and_leaks_nothing(server):
    address, process = server
    bodies = [
        question(f"{words} {i}", max_tokens=12) for i, words in enumerate(["which ball?", "how many", "is it"] * 3)
    ]
    warm = asyncio.run(server_load.measure(address, process.pid, bodies, 12, 3.0))
    found = asyncio.run(server_load.measure(address, process.pid, bodies, 12, 12.0))
    assert warm["wrong_answers"] == found["wrong_answers"] == 0
    assert found["answers"] > 12
    assert found["after"]["memory_mb"] < found["before"]["memory_mb"] + 60
    assert found["after"]["children"] == 0
    wait_until(lambda: server_load.usage(process.pid)["files"] <= warm["before"]["files"] + 14, 30)


def test_hostile_videos_leave_no_process_behind(server):
    address, process = server
    film = encode(np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8))
    rng = np.random.default_rng(1)
    for number in range(12):
        broken = bytearray(film)
        for place in rng.integers(0, len(film), 40):
            broken[place] = rng.integers(256)
        content = bytes(broken[: rng.integers(1, len(broken))]) if number % 2 else bytes(broken)
        url = "data:video/mp4;base64," + base64.b64encode(content).decode()
        body = {"messages": [{"role": "user", "content": [video_part(url)]}], "max_tokens": 2}
        response = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60)
        assert response.status_code in (200, 400, 502), response.text
        if response.status_code != 200:
            assert response.json()["error"]["message"]
    assert httpx.get(f"{address}/health").status_code == 200
    assert server_load.usage(process.pid)["children"] == 0


def test_a_decoder_killed_in_the_middle_is_a_sentence(run):
    with live(run) as (address, process):
        film = encode(np.random.default_rng(0).integers(0, 256, (400, 240, 320, 3), np.uint8))
        url = "data:video/mp4;base64," + base64.b64encode(film).decode()
        found = []
        content = [video_part(url), {"type": "text", "text": "what is hit?"}]
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 2}
        asking = threading.Thread(
            target=lambda: found.append(httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60))
        )
        asking.start()
        killed = 0
        while asking.is_alive() and not killed:
            children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
                    killed += 1
        asking.join()
        assert killed and found[0].status_code == 502
        assert "the decoder was stopped" in found[0].json()["error"]["message"]
        assert httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).status_code == 200


def test_sigterm_finishes_what_runs_and_ends(run):
    with live(run, "--slots", "2", "--grace", "30") as (address, process):
        found = []

        def one(number):
            with contextlib.suppress(httpx.ConnectError):
                found.append(
                    httpx.post(
                        f"{address}/v1/chat/completions", json=question(f"q {number}", max_tokens=60), timeout=60
                    )
                )

        threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: running(address) > 0)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.wait(40) == 0
        assert found and {response.status_code for response in found} == {200}
        assert all(json.loads(response.text)["choices"][0]["finish_reason"] for response in found)
