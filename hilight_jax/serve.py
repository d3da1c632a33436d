"""Serves a chat model: ``python -m hilight_jax.serve --checkpoint W``, with OpenAI's endpoints and a page to try it on.

OpenAI's client connects with ``OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="any")``. SIGTERM finishes the
running answers within ``--grace`` seconds and ends the server.
"""

import argparse
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hilight_jax import api
from hilight_jax.archive.store import Store, check_model, open_store
from hilight_jax.core import commands
from hilight_jax.core.errors import CheckpointError, UserError
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.generation.locating import Finder
from hilight_jax.runs.provenance import fingerprint
from hilight_jax.stages.clip_search import EncodedClip, compare, encode_clip

KEYS = "HILIGHT_API_KEYS"
_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[0-9a-fA-F:]+\](:\d+)?")
_ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?")


def main(argv: list[str] | None = None) -> int:
    """Loads the model and serves until SIGTERM or SIGINT."""
    try:
        import uvicorn

        from hilight_jax.serving.app import make_app
        from hilight_jax.serving.engine import Engine
        from hilight_jax.serving.middleware import AccessRules
        from hilight_jax.serving.service import Service, ServiceLimits
        from hilight_jax.serving.videos.decoding import VideoLimits
        from hilight_jax.serving.videos.video_store import VideoStore
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
    archive = _archive(model, arguments.index) if arguments.index else None
    generator, data = model.generator, model.data
    limits = VideoLimits(
        max_bytes=arguments.max_mb * 10**6,
        max_seconds=arguments.max_seconds,
        decoders=arguments.decoders,
        allowed_hosts=tuple(host.lower() for host in arguments.allow_host),
    )
    videos = VideoStore(data.num_frames, data.image_size, limits)
    engine = Engine(generator, arguments.slots, arguments.max_waiting)
    name = arguments.name or Path(arguments.checkpoint).resolve().name
    service_limits = ServiceLimits(max_new_tokens=arguments.max_new_tokens)
    service = Service(name, engine, data, videos, _embedder(model), service_limits, _finder(model), archive)
    print(f"{arguments.checkpoint} is loaded; compiling ...", flush=True)
    service.warm_up()
    host, port = listener.getsockname()[:2]
    local = host in ("127.0.0.1", "::1")
    max_body_bytes = 4 * limits.max_bytes // 3 + 10**6
    app = make_app(service, AccessRules(keys, max_body_bytes, tuple(arguments.allow_origin), local and not keys))

    class Server(uvicorn.Server):
        stopped_at: float | None = None

        def handle_exit(self, sig: int, frame: Any) -> None:
            self.stopped_at = self.stopped_at or time.monotonic()
            unfinished = engine.num_running + engine.num_waiting
            print(f"stopping: no new requests; answers to finish within {arguments.grace} s: {unfinished}", flush=True)
            super().handle_exit(sig, frame)

    settings = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=arguments.grace, timeout_keep_alive=15, access_log=False
    )
    listener.listen(settings.backlog)
    required = f"{len(keys)} keys" if keys else "no key"
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"serving {name} on {address}, asks for {required}", flush=True)
    if not keys and not local:
        warning = f"warning: every client that reaches {host} may use it; set {KEYS} to ask for a key"
        print(warning, file=sys.stderr, flush=True)
    server = Server(settings)
    # uvicorn raises the signal that ended it again, after its shutdown.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    try:
        server.run(sockets=[listener])
    finally:
        elapsed = time.monotonic() - server.stopped_at if server.stopped_at else 0.0
        engine.close(max(0.0, arguments.grace - elapsed))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Checks numbers and names before anything is loaded."""
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
    """Reads the API keys from the environment.

    Raises:
      UserError: The variable is set but has no key, or a key that cannot be sent in a header.
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
    """Binds the address before the model is loaded; connections are accepted later.

    Raises:
      UserError: The address cannot be bound.
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
    """Embeds one text or clip at a time with a model's encoder; see ``Embedder``."""

    def __init__(self, model: api.Model):
        """Reads the sizes from the encoder's run."""
        self._model, self.embed_text = model, model.encode_text
        data = model.encoder.config.data
        self.num_frames, self.image_size = data.num_frames, data.image_size

    def count_tokens(self, text: str) -> int:
        """Counts the tokens of a text as it is embedded."""
        return int(ClipTokenizer(self._model.encoder.config.data.text_length)(text).mask.sum())

    def encode_frames(self, frames: np.ndarray) -> EncodedClip:
        """Encodes frames uint8 [F, Y, X, 3]."""
        return encode_clip(self._model.encoder, frames)

    def compare(
        self, text: str, clips: Sequence[EncodedClip], words: bool | None, shortlist: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the cosine of a text and each clip, and the score with the help of words."""
        return compare(self._model.encoder, text, clips, words, shortlist)


def _embedder(model: api.Model) -> EncoderEmbedder | None:
    """Loads the encoder of the chat model; prints the reason and returns None where its run is missing."""
    try:
        return EncoderEmbedder(model)
    except CheckpointError as error:
        print(f"no embeddings: {error}", flush=True)
        return None


def _finder(model: api.Model) -> Finder | None:
    """Loads the finder of the chat model; None where it needs the encoder's run and that is missing."""
    try:
        return model.finder
    except CheckpointError:  # ``_embedder`` has printed the reason.
        return None


def _archive(model: api.Model, uri: str) -> Store:
    """Opens an index of films.

    Raises:
      UserError: There is none, or it was made with another encoder.
    """
    store = open_store(uri)
    check_model(store, fingerprint(model.encoder.params), f"step {model.encoder.step} of the model's encoder")
    return store


def _parser() -> argparse.ArgumentParser:
    keys = f"The environment variable {KEYS} holds the API keys that clients must send, separated by commas."
    parser = commands.parser("serve", __doc__, json_help="", epilog=keys)
    add = parser.add_argument
    add("--checkpoint", required=True, help="working directory of a run of align or tune, or a packed model such as "
        "billiards-mini")  # fmt: skip
    add("--which", choices=("best", "latest"), default="latest", help="which of its checkpoints")
    add("--name", default="", help="name of the model (default: the directory's name)")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="port (default: 8000)")
    add("--index", default="", help="an index of films made with the model's encoder, to search on the page")
    add("--slots", type=int, default=8, help="answers generated at a time (default: 8)")
    add("--max_waiting", type=int, default=64, help="requests that wait, at most (default: 64)")
    add("--max_new_tokens", type=int, default=1024, help="the longest answer (default: 1024)")
    add("--max_mb", type=int, default=100, help="largest video, in megabytes (default: 100)")
    add("--max_seconds", type=int, default=14400, help="longest video, in seconds (default: 14400, four hours)")
    add("--decoders", type=int, default=2, help="decoding processes at a time (default: 2)")
    repeated: Any = {"action": "append", "default": []}
    add("--allow_host", **repeated, help="HOST or HOST:PORT that videos may be fetched from; may be repeated")
    add("--allow_origin", **repeated, help="a site whose pages may send requests, https://HOST; may be repeated")
    add("--grace", type=int, default=60, help="seconds for running answers after SIGTERM (default: 60)")
    add("--quiet", action="store_true", help="print no line for each request")
    return parser


if __name__ == "__main__":
    commands.run(main)
