"""A whole server on a small model of random weights, in this process."""

import contextlib
import pathlib
import threading
import time
from types import SimpleNamespace

import numpy as np
import sentencepiece
import uvicorn
from starlette.testclient import TestClient

from hilight_jax import api
from hilight_jax.serving.app import make_app
from hilight_jax.serving.engine import Engine
from hilight_jax.serving.middleware import AccessRules
from hilight_jax.serving.service import Service, ServiceLimits
from hilight_jax.serving.videos.decoding import VideoLimits
from hilight_jax.serving.videos.video_store import VideoStore
from tests.formats.exporting import runs
from tests.formats.importing import checkpoints
from tests.generation.colours import ColourFinder

ANSWER = {"max_tokens": 6}


class LetterEmbedder:
    """Embeds a text by its letters and frames by their colours."""

    num_frames, image_size = 3, 16

    def count_tokens(self, text):
        return len(text.split())

    def embed_text(self, text):
        vector = np.bincount([ord(c) % 8 for c in text], minlength=8).astype(np.float32) + 0.1
        return vector / np.linalg.norm(vector)

    def encode_frames(self, frames):
        vector = frames.reshape(-1, 8, 3).mean((0, 2)).astype(np.float32) + 1
        return SimpleNamespace(embed=vector / np.linalg.norm(vector), patches=None, nbytes=vector.nbytes)

    def compare(self, text, clips, words, shortlist):
        """Words prefer the darkest clips, those whose vector is the flattest."""
        similarity = np.stack([clip.embed for clip in clips]) @ self.embed_text(text)
        return similarity, similarity if words is False else -np.stack([clip.embed for clip in clips]).max(1)


def small_run(directory: pathlib.Path, config=runs.SINGLE) -> pathlib.Path:
    """A working directory to serve, whose random model says letters rather than spaces."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(checkpoints.TOKENIZER))
    letters = [i for i in range(pieces.vocab_size()) if pieces.id_to_piece(i).strip("\u2581").isalpha()]

    def talkative(params):
        params["gemma"]["embedder"]["table"][letters] *= 4
        return params

    runs.chat_run(directory, config, talkative)
    return directory


@contextlib.contextmanager
def serving(
    run,
    *,
    slots=4,
    max_waiting=16,
    limits=None,
    api_keys=(),
    embedder=True,
    service_limits=None,
    archive=None,
    **rules,
):
    """The application and its service; the engine is closed at the end."""
    model = api.load(run)
    engine = Engine(model.generator, slots, max_waiting)
    videos = VideoStore(model.data.num_frames, model.data.image_size, limits or VideoLimits())
    embed = LetterEmbedder() if embedder else None
    finder = ColourFinder(num_frames=2, image_size=model.data.image_size) if embedder else None
    limits = service_limits or ServiceLimits()
    service = Service("small", engine, model.data, videos, embed, limits, finder, archive)
    try:
        yield make_app(service, AccessRules(api_keys, **rules)), service
    finally:
        engine.close()


@contextlib.contextmanager
def served(run, *, api_keys=(), **options):
    """A client of a server, without a network between."""
    headers = {"authorization": f"Bearer {api_keys[0]}"} if api_keys else {}
    with serving(run, api_keys=api_keys, **options) as (app, service), TestClient(app, headers=headers) as client:
        client.engine, client.service = service.engine, service
        yield client


@contextlib.contextmanager
def listening(run, **options):
    """The address of a server in a thread of this process."""
    with serving(run, **options) as (app, _), listening_to(app) as address:
        yield address


@contextlib.contextmanager
def listening_to(app):
    """The address of an application in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def video_part(url):
    """A part of a message that shows a video."""
    return {"type": "video_url", "video_url": {"url": url}}


def ask(client, content="what is hit?", **more):
    """Asks a client's server a question."""
    return client.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": content}], **ANSWER, **more}
    )
