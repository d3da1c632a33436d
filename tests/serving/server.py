"""A whole server on a small model of random weights, in this process."""

import contextlib
import pathlib

import numpy as np
import sentencepiece
from starlette.testclient import TestClient

from hilight_jax import api
from hilight_jax.serving.app import make_app
from hilight_jax.serving.engine import Engine
from hilight_jax.serving.service import Service, ServiceLimits
from hilight_jax.serving.videos import VideoLimits, Videos
from tests.exporters import runs
from tests.importers import checkpoints

ANSWER = {"max_tokens": 6}


class LetterEmbedder:
    """Embeds a text by its letters and frames by their colours."""

    num_frames, image_size = 3, 16

    def count_tokens(self, text):
        return len(text.split())

    def embed_text(self, text):
        vector = np.bincount([ord(c) % 8 for c in text], minlength=8).astype(np.float32) + 0.1
        return vector / np.linalg.norm(vector)

    def embed_frames(self, frames):
        vector = frames.reshape(-1, 8, 3).mean((0, 2)).astype(np.float32) + 1
        return vector / np.linalg.norm(vector)


def small_run(directory: pathlib.Path) -> pathlib.Path:
    """A working directory to serve, whose random model says letters rather than spaces."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(checkpoints.TOKENIZER))
    letters = [i for i in range(pieces.vocab_size()) if pieces.id_to_piece(i).strip("\u2581").isalpha()]

    def talkative(params):
        params["gemma"]["embedder"]["table"][letters] *= 4
        return params

    runs.chat_run(directory, runs.SINGLE, talkative)
    return directory


@contextlib.contextmanager
def served(run, *, slots=4, max_waiting=16, limits=None, api_keys=(), embedder=True, service_limits=None, **guard):
    """A client of a server; the engine is closed at the end."""
    model = api.load(run)
    engine = Engine(model.generator, slots, max_waiting)
    videos = Videos(model.data.num_frames, model.data.image_size, limits or VideoLimits())
    embed = LetterEmbedder() if embedder else None
    service = Service("small", engine, model.data, videos, embed, service_limits or ServiceLimits())
    headers = {"authorization": f"Bearer {api_keys[0]}"} if api_keys else {}
    try:
        with TestClient(make_app(service, api_keys, **guard), headers=headers) as client:
            client.engine, client.service = engine, service
            yield client
    finally:
        engine.close()


def video_part(url):
    """A part of a message that shows a video."""
    return {"type": "video_url", "video_url": {"url": url}}
