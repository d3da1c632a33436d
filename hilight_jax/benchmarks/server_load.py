"""Puts many clients on a server: compares each answer with that of its question alone, times it, measures memory."""

import asyncio
import base64
import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from hilight_jax.benchmarks.random_models import write_random_run
from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.encoding import encode_video
from hilight_jax.billiards.worlds import get_world
from hilight_jax.core.errors import UserError
from hilight_jax.stages.chat_config import ChatTrainConfig


def compare_slots(
    config: ChatTrainConfig | None, checkpoint: str, slots: int, clients: int, seconds: float, new_tokens: int
) -> dict[str, Any]:
    """Starts the server as a user does, with one slot and with ``slots``, and puts the same load on each.

    The model is a trained run, ``checkpoint``, or one of random weights and the sizes of ``config``. Each load lasts
    some seconds.

    Returns:
      The figures of ``measure`` for each server, and the ratio of their tokens per second.

    Raises:
      UserError: Not one of config and checkpoint is given, or the server did not start.
    """
    if bool(checkpoint) == (config is not None):
        raise UserError("give either --checkpoint, a trained run, or --config, whose model is given random weights.")
    bodies = questions(new_tokens)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if config is not None:
            checkpoint = str(Path(folder) / "random")
            write_random_run(config.model, config.data, Path(checkpoint))
        for number in (1, slots):
            with running_server(checkpoint, number) as (address, pid):
                figures[f"{number} slots"] = asyncio.run(measure(address, pid, bodies, clients, seconds))
    one, several = (figures[f"{number} slots"]["tokens_per_second"] for number in (1, slots))
    return figures | {"speedup": several / one}


def questions(new_tokens: int) -> list[dict[str, Any]]:
    """Requests that differ: twelve without a video and four about clips of the demo's world."""
    asked = ("Which ball is hit first?", "How many balls are in view?", "Is a ball potted?", "Where is the cue ball?")
    bodies = []
    for number in range(16):
        content: list[dict[str, Any]] = [{"type": "text", "text": f"{asked[number % 4]} ({number})"}]
        if number < 4:
            clip = make_clip(get_world("demo-v1"), "validation", number, fps=10)
            film = base64.b64encode(encode_video(clip.frames, 10, watchable=True)).decode()
            content.insert(0, {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{film}"}})
        message = {"role": "user", "content": content}
        bodies.append({"messages": [message], "max_tokens": new_tokens, "ignore_eos": True})
    return bodies


@contextlib.contextmanager
def running_server(checkpoint: str, slots: int) -> Iterator[tuple[str, int]]:
    """A server in a process of its own, stopped at the end: its address and process id.

    Raises:
      UserError: It did not start; its output stands above.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["--checkpoint", checkpoint, "--port", str(port), "--slots", str(slots), "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "hilight_jax.serve", *command], stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            time.sleep(0.2)
        else:
            raise UserError(f"the server of '{checkpoint}' did not start; mend what it names above.")
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


async def measure(
    address: str, pid: int, bodies: Sequence[dict[str, Any]], clients: int, seconds: float
) -> dict[str, Any]:
    """Asks each question alone, then for some seconds all of them again and again from several clients at once.

    ``address`` is ``http://HOST:PORT`` of the server, ``pid`` its process; the bodies are of ``/v1/chat/completions``.

    Returns:
      Answers, tokens a second, percentiles of the time to an answer, answers that are not the one that their question
      got alone (and how many of those differ), and the server's memory, files and children before and after.
    """
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as http:
        alone = [await _answer(http, body) for body in bodies]
    await asyncio.sleep(1)
    before = usage(pid)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as http:
        times: list[float] = []
        wrong: list[int] = []
        tokens = 0
        began = time.perf_counter()

        async def client(number: int) -> None:
            nonlocal tokens
            rng = np.random.default_rng(number)
            while time.perf_counter() - began < seconds:
                i = int(rng.integers(len(bodies)))
                asked = time.perf_counter()
                answer = await _answer(http, bodies[i])
                times.append(time.perf_counter() - asked)
                tokens += answer["usage"]["completion_tokens"]
                if answer["choices"] != alone[i]["choices"]:
                    wrong.append(i)

        await asyncio.gather(*(client(number) for number in range(clients)))
        lasted = time.perf_counter() - began
    await asyncio.sleep(1)
    after = usage(pid)
    spread = {f"p{p}_seconds": float(np.percentile(times, p)) for p in (50, 90, 99)}
    return {
        "clients": clients,
        "answers": len(times),
        "wrong_answers": len(wrong),
        "distinct_answers": len({answer["choices"][0]["message"]["content"] for answer in alone}),
        "answers_per_second": len(times) / lasted,
        "tokens_per_second": tokens / lasted,
        **spread,
        "before": before,
        "after": after,
    }


def usage(pid: int) -> dict[str, float]:
    """Resident memory in MB, open files and child processes of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    memory = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1e3
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return {"memory_mb": memory, "files": len(os.listdir(f"/proc/{pid}/fd")), "children": len(children)}


async def _answer(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """One answer; a request that a busy server refuses is sent again."""
    while True:
        response = await http.post("/v1/chat/completions", json=body)
        if response.status_code != 429:
            response.raise_for_status()
            return response.json()
        await asyncio.sleep(float(response.headers.get("retry-after", "1")))
