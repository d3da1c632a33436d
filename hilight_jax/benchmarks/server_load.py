"""Many clients on one server: does each get the answer that its question gets alone, how fast, in how much memory."""

import asyncio
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np


async def measure(
    address: str, pid: int, bodies: Sequence[dict[str, Any]], clients: int, seconds: float
) -> dict[str, Any]:
    """Asks each question alone, then all of them again and again from several clients at once.

    Args:
      address: Of the server, ``http://HOST:PORT``.
      pid: Of its process.
      bodies: Requests of ``/v1/chat/completions``.
      clients: At a time.
      seconds: For how long.

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
    """One answer; a server that is busy is asked again."""
    while True:
        response = await http.post("/v1/chat/completions", json=body)
        if response.status_code != 429:
            response.raise_for_status()
            return response.json()
        await asyncio.sleep(float(response.headers.get("retry-after", "1")))
