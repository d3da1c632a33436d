"""Finds named things with the encoder of a trained model, see ``generation/locating.py``."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from hilight_jax.generation.clip_features import encode_patches
from hilight_jax.generation.locating import USUAL_THRESHOLD
from hilight_jax.generation.phrase_vectors import PhraseVectors, chat_phrase_vectors
from hilight_jax.models.clip import normalise
from hilight_jax.models.hilight import HiLight, variables
from hilight_jax.models.local_heads import map_features
from hilight_jax.models.video_text import DualEncoder
from hilight_jax.models.word_tracks import phrase_vectors
from hilight_jax.pages.report import read_evaluations
from hilight_jax.stages.trained_chat import ChatModel
from hilight_jax.stages.trained_encoder import TrainedEncoder


class EncoderFinder:
    """The finder of an encoder's run; see ``Finder``."""

    def __init__(self, encoder: TrainedEncoder, workdir: str | Path):
        """Takes a loaded encoder, and its working directory for the threshold."""
        self._encoder, vision = encoder, encoder.config.model.vision
        self.num_frames, self.image_size = encoder.config.data.num_frames, vision.image_size
        self.columns = vision.image_size // vision.patch_size
        self.threshold = fitted_threshold(workdir, encoder.step)
        self.phrases = PhraseVectors(self._encode_phrases)
        model, weights = DualEncoder(encoder.config.model), encoder.level_weights
        self._encode = jax.jit(lambda params, frames: _map_features(model, weights, params, frames))

    def patches(self, frames: UInt8[np.ndarray, "B F Y X 3"]) -> Float[np.ndarray, "B F P E"]:
        """Encodes clips."""
        return np.asarray(self._encode(self._encoder.params, frames))

    def _encode_phrases(self, ids: Int[np.ndarray, "W L"], content: Bool[np.ndarray, "W L"]) -> Float[Array, "W E"]:
        local = self._encoder.encode_text(ids, ids > 0)["text_local"]
        return phrase_vectors(map_features(local, self._encoder.level_weights), content)


class ChatFinder:
    """The finder of a chat model with word tracks, which holds the encoder's parts itself; see ``Finder``."""

    def __init__(self, model: ChatModel):
        """Shares the parts of a loaded model."""
        vision, origin = model.config.vision, model.origins["local"]
        self.num_frames, self.image_size = model.data.num_frames, vision.image_size
        self.columns = vision.image_size // vision.patch_size
        self.threshold = fitted_threshold(origin.workdir, origin.step)
        self.phrases = chat_phrase_vectors(model.config, model.params)
        parts = {name: part for name, part in model.params.items() if name not in ("gemma", "lora")}
        self._encode = functools.partial(encode_patches, HiLight(model.config), variables(parts))

    def patches(self, frames: UInt8[np.ndarray, "B F Y X 3"]) -> Float[np.ndarray, "B F P E"]:
        """Encodes clips."""
        return np.asarray(self._encode(frames))


def fitted_threshold(workdir: str | Path, step: int | None) -> float:
    """Returns the threshold that an evaluation of an encoder's checkpoint fitted, or else the usual one.

    Of several evaluations the one of the validation source counts, or else the first by name.
    """
    results = (result for result in read_evaluations(Path(workdir)) if result.get("step") == step)
    fitted = (result.get("grounding", {}).get("places") for result in results)
    return next((places["threshold"] for places in fitted if places), USUAL_THRESHOLD)


def _map_features(
    model: DualEncoder, weights: Sequence[float], params: Mapping[str, Any], frames: UInt8[Array, "B F Y X 3"]
) -> Float[Array, "B F P E"]:
    """The features that maps are made of; what else the tower would compute is dropped by the compiler."""
    seen: dict[str, Any] = model.apply({"params": params}, normalise(frames), method="encode_video")
    return map_features(seen["video_local"], weights)
