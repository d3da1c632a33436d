"""Serves a chat model: ``python -m hilight_jax.serve --checkpoint W``: OpenAI's endpoints, and a page to try it on.

The official client works as it is: ``OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="any")``. SIGTERM finishes the
answers that run, within ``--grace`` seconds, and ends.
"""

import argparse
import logging
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax import api
from hilight_jax.core import commands
from hilight_jax.core.errors import CheckpointError, UserError
from hilight_jax.data.tokenizers import ClipTokenizer

KEYS = "HILIGHT_API_KEYS"
_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[0-9a-fA-F:]+\](:\d+)?")
_ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?")


def main(argv: list[str] | None = None) -> int:
    """Loads the model and serves until it is told to stop."""
    try:
        import uvicorn

        from hilight_jax.serving.app import make_app
        from hilight_jax.serving.engine import Engine
        from hilight_jax.serving.middleware import Rules
        from hilight_jax.serving.service import Service, ServiceLimits
        from hilight_jax.serving.videos.decoding import VideoLimits
        from hilight_jax.serving.videos.video_store import Videos
    except ImportError as error:
        raise UserError(f"the server needs more ({error}); pip install 'hilight_jax[serve]'.") from error
    arguments = _parser().parse_args(argv)
    _check(arguments)
    keys = read_keys()
    if not arguments.quiet:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
        logging.getLogger("hilight_jax").setLevel(logging.INFO)
    listener = _listen(arguments.host, arguments.port)
    model = api.load(arguments.checkpoint, arguments.which)
    generator, data = model.generator, model.data
    limits = VideoLimits(
        max_bytes=arguments.max_mb * 10**6,
        max_seconds=arguments.max_seconds,
        decoders=arguments.decoders,
        allowed_hosts=tuple(host.lower() for host in arguments.allow_host),
    )
    videos = Videos(data.num_frames, data.image_size, limits)
    engine = Engine(generator, arguments.slots, arguments.max_waiting)
    service = Service(
        arguments.name or Path(arguments.checkpoint).resolve().name,
        engine,
        data,
        videos,
        _embedder(model),
        ServiceLimits(max_new_tokens=arguments.max_new_tokens),
    )
    print(f"{arguments.checkpoint} is loaded; compiling ...", flush=True)
    service.warm()
    host, port = listener.getsockname()[:2]
    local = host in ("127.0.0.1", "::1")
    largest = 4 * limits.max_bytes // 3 + 10**6
    app = make_app(service, Rules(keys, largest, tuple(arguments.allow_origin), local and not keys))

    class Server(uvicorn.Server):
        told: float | None = None

        def handle_exit(self, sig: int, frame: Any) -> None:
            self.told = self.told or time.monotonic()
            left = engine.num_running + engine.num_waiting
            print(f"stopping: no more questions; answers to finish within {arguments.grace} s: {left}", flush=True)
            super().handle_exit(sig, frame)

    settings = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=arguments.grace, timeout_keep_alive=15, access_log=False
    )
    listener.listen(settings.backlog)
    asks = f"{len(keys)} keys" if keys else "no key"
    print(
        f"serving {service.name} on http://{f'[{host}]' if ':' in host else host}:{port}, asks for {asks}", flush=True
    )
    if not keys and not local:
        print(f"warning: whoever reaches {host} may use it; set {KEYS} to ask for a key", file=sys.stderr, flush=True)
    server = Server(settings)
    # The server repeats the signal that ended it, when all is done.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        server.run(sockets=[listener])
    finally:
        gone = time.monotonic() - server.told if server.told else 0.0
        engine.close(max(0.0, arguments.grace - gone))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuses numbers and names that cannot be, before anything is loaded."""
    for name in ("slots", "max_waiting", "max_mb", "max_seconds", "decoders", "max_new_tokens"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} is {getattr(arguments, name)}, but must be at least 1.")
    if arguments.grace < 0:
        raise UserError(f"--grace is {arguments.grace}, but must be at least 0 seconds.")
    if not 0 <= arguments.port < 2**16:
        raise UserError(f"--port is {arguments.port}, but must be 0 (any that is free) to 65535.")
    for host in arguments.allow_host:
        if not _HOST.fullmatch(host):
            raise UserError(
                f"--allow_host is '{host}', but must be HOST or HOST:PORT, such as videos.example.com:8080."
            )
    for origin in arguments.allow_origin:
        if not _ORIGIN.fullmatch(origin):
            raise UserError(f"--allow_origin is '{origin}', but must be as https://app.example.com, without a path.")


def read_keys() -> tuple[str, ...]:
    """The keys that clients must send.

    Raises:
      UserError: The variable is there and holds none, or one that cannot be sent.
    """
    if (given := os.environ.get(KEYS)) is None:
        return ()
    keys = tuple(key.strip() for key in given.split(",") if key.strip())
    if not keys:
        raise UserError(
            f"{KEYS} is set, but holds no key; write keys with commas between, or unset it to ask for none."
        )
    for key in keys:
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"{KEYS} holds the key '{key[:2]}...', which is not of ASCII alone; give another.")
    return keys


def _listen(host: str, port: int) -> socket.socket:
    """Takes the address before the model is loaded; nobody is answered yet.

    Raises:
      UserError: It cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port} ({error.strerror}); give another --host or --port.") from error
    return listener


class EncoderEmbedder:
    """The encoder of a model, one text or clip at a time."""

    def __init__(self, model: api.Model):
        """Takes the sizes from the encoder's own run."""
        self._model = model
        data = model.encoder.config.data
        self.num_frames, self.image_size = data.num_frames, data.image_size

    def embed_text(self, text: str) -> np.ndarray:
        """A text as a unit vector."""
        return self._model.encode_text(text)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text as it is embedded."""
        return int(ClipTokenizer(self._model.encoder.config.data.text_length)(text).mask.sum())

    def embed_frames(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 [F, Y, X, 3] as a unit vector."""
        vector = self._model.encoder.encode_video(frames[None])["video_embeds"][0]
        return vector / np.linalg.norm(vector)


def _embedder(model: api.Model) -> EncoderEmbedder | None:
    """The encoder that the chat model sees with; None, said, where its run is gone."""
    try:
        return EncoderEmbedder(model)
    except CheckpointError as error:
        print(f"no embeddings: {error}", flush=True)
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hilight_jax.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"Keys that clients must send stand in the environment variable {KEYS}, with commas between.",
    )
    add = parser.add_argument
    add("--checkpoint", required=True, help="working directory of a run of align or tune")
    add("--which", choices=("best", "latest"), default="latest", help="which of its checkpoints")
    add("--name", default="", help="what the model is called (default: the directory's name)")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    add("--port", type=int, default=8000, help="port (default: 8000)")
    add("--slots", type=int, default=8, help="answers at a time (default: 8)")
    add("--max_waiting", type=int, default=64, help="requests that may wait (default: 64)")
    add("--max_new_tokens", type=int, default=1024, help="the longest answer (default: 1024)")
    add("--max_mb", type=int, default=100, help="megabytes of a video (default: 100)")
    add("--max_seconds", type=int, default=600, help="length of a video (default: 600)")
    add("--decoders", type=int, default=2, help="processes that decode at a time (default: 2)")
    add(
        "--allow_host",
        action="append",
        default=[],
        help="HOST or HOST:PORT that videos may be fetched from; may be repeated",
    )
    add("--allow_origin", action="append", default=[], help="a site whose pages may ask, https://HOST; may be repeated")
    add("--grace", type=int, default=60, help="seconds for running answers after SIGTERM (default: 60)")
    add("--quiet", action="store_true", help="no line for every request")
    return parser


if __name__ == "__main__":
    commands.run(main)
