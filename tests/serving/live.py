"""A server in a process of its own, as a user starts it."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time

import httpx

ROOT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def live(run, *arguments, environment=None):
    """Address and process of a server; stopped at the end, however the test went."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hilight_jax.serve", "--checkpoint", str(run), "--port", str(port), *arguments]
    settings = {**os.environ, "XLA_FLAGS": "", **(environment or {})}
    process = subprocess.Popen(command, cwd=ROOT, env=settings)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{address}/health").status_code == 200:
                    break
            assert process.poll() is None, "the server did not start"
            time.sleep(0.1)
        yield address, process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def question(text="what is hit?", **more):
    """The body of a request."""
    return {"messages": [{"role": "user", "content": text}], **more}
