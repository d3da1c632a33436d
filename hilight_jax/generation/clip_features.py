"""Encodes clips into rows of the language model, and caches those of the latest clips."""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, UInt8

from hilight_jax.core.errors import DataError
from hilight_jax.core.trees import Tree
from hilight_jax.data.conversations.words import Things
from hilight_jax.generation.following import Tracked, track
from hilight_jax.generation.mosaic import read_mosaic
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.generation.zoom import best_zoom, whole_pictures
from hilight_jax.models.clip import normalise
from hilight_jax.models.hilight import HiLight, variables
from hilight_jax.models.hilight_config import TOWER_PARTS, HiLightConfig


@dataclasses.dataclass(frozen=True, eq=False)
class ClipFeatures:
    """A clip as the language model sees it.

    Attributes:
      digest: Hash of the clip's pixels and key frames, and of its zoom.
      tokens: [V, D], its rows in the language model: those of token mining, then, with word tracks, those of things.
      attention: [V, S], the clip's S = M + F * P video tokens that each row comes from, proxies first, then patches
        frame by frame: the attention of token mining, or a thing's map as shares of the clip. Rows sum to 1.
      key_frames: Indices of the frames that the frame tower saw.
      find: Finds phrases in the clip by their vectors; None without word tracks.
      zoom: The zoom that things were looked for with.
    """

    digest: str
    tokens: np.ndarray
    attention: np.ndarray
    key_frames: np.ndarray
    find: Callable[[Float[np.ndarray, "W E"]], Tracked] | None = None
    zoom: float | Literal["off"] = "off"


class ClipEncoder:
    """Both towers and token mining, with a cache of the latest clips; a ``mosaic.PatchEncoder``."""

    def __init__(self, config: HiLightConfig, params: Tree, things: Things | None = None, cache_size: int = 16):
        """Takes the towers and the connector out of a model's parameters; caches ``cache_size`` clips."""
        names = (*TOWER_PARTS, "token_mining", "word_tracks")
        parts = {name: params[name] for name in names if name in params}
        if config.word_tracks is not None:
            parts["gemma"] = {"embedder": params["gemma"]["embedder"]}
        self._model, self._variables, self._things = HiLight(config), variables(jax.device_put(parts)), things
        self._cache_size = cache_size
        self._cached: collections.OrderedDict[str, ClipFeatures] = collections.OrderedDict()
        self.image_size = config.vision.image_size
        self.columns = self.image_size // config.vision.patch_size
        self.num_frames = config.vision.num_frames if config.word_tracks is None else config.word_tracks.num_frames

    def __call__(self, frames: np.ndarray, key_frames: np.ndarray, closer: VideoClip | None = None) -> ClipFeatures:
        """Encodes a clip.

        Args:
          frames: [F, Y, X, C], RGB: uint8, or floats of 0..255 as resizing returns them.
          key_frames: int [keys], indices of the frames that the frame tower sees.
          closer: The same frames with their own pictures and the zoom to find things with; None finds them in the
            frames.

        Raises:
          DataError: The frames have not the towers' shape, a key frame is out of range, or a zoom is given to a model
            without word tracks.
        """
        frames, key_frames = np.asarray(frames), np.asarray(key_frames, np.int32)
        self._check(frames, key_frames, closer)
        digest = _digest(frames, key_frames, closer)
        if digest not in self._cached:
            self._cached[digest] = self._encode(digest, frames, key_frames, closer)
            if len(self._cached) > self._cache_size:
                self._cached.popitem(last=False)
        self._cached.move_to_end(digest)
        return self._cached[digest]

    def patches(self, frames: UInt8[np.ndarray, "B F Y X 3"]) -> Float[np.ndarray, "B F P E"]:
        """Encodes clips; unit vectors of their patches, which phrases are compared with."""
        return np.asarray(encode_patches(self._model, self._variables, frames))

    def _encode(
        self, digest: str, frames: np.ndarray, key_frames: np.ndarray, closer: VideoClip | None
    ) -> ClipFeatures:
        made = {name: x[0] for name, x in _mine(self._model, self._variables, frames[None], key_frames[None]).items()}
        tokens, attention = np.asarray(made["tokens"]), np.asarray(made["attention"])
        if self._things is None or "patch_features" not in made:
            return ClipFeatures(digest, tokens, attention, key_frames)
        vectors = np.asarray(_thing_vectors(self._model, self._variables, self._things))
        find, zoom = functools.partial(self._find, np.asarray(made["patch_features"])), "off"
        if closer is not None:
            zoom = best_zoom(self, closer, vectors)
            if zoom != "off":
                find = self._find_closer(closer, zoom)
        found = find(vectors)
        rows = _thing_rows(self._model, self._variables, self._things, found.tracks, found.features)
        assert self._model.config.word_tracks is not None
        scores = self._model.config.word_tracks.sharpness * found.maps.reshape(len(vectors), -1)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shares = np.pad(shares, ((0, 0), (self._model.config.vision.num_proxy_tokens, 0)))
        tokens = np.concatenate([tokens, np.asarray(rows, tokens.dtype)])
        return ClipFeatures(digest, tokens, np.concatenate([attention, shares]), key_frames, find, zoom)

    def _find(self, patches: Float[np.ndarray, "F P E"], vectors: Float[np.ndarray, "W E"]) -> Tracked:
        """Finds phrases in the frames that the model sees."""
        found = _track(self._model, patches[None], vectors[None])
        return Tracked(*(np.asarray(found[name][0]) for name in Tracked._fields))

    def _find_closer(self, clip: VideoClip, zoom: float) -> Callable[[Float[np.ndarray, "W E"]], Tracked]:
        """Finds phrases in the pictures of a clip, which are encoded once."""
        config = self._model.config.word_tracks
        assert config is not None
        mosaic = read_mosaic(self, whole_pictures(clip), zoom)
        mosaic = mosaic._replace(patches=mosaic.patches.astype(np.float16))  # Half of the memory while it is cached.
        size, times, columns, sharpness = clip.size, clip.times, self.columns, config.sharpness  # And no pictures.
        return lambda vectors: track(mosaic, vectors, size, times, columns, sharpness)

    def _check(self, frames: np.ndarray, key_frames: np.ndarray, closer: VideoClip | None) -> None:
        if frames.ndim != 4 or not len(frames) or frames.shape[1:] != (self.image_size, self.image_size, 3):
            raise DataError(
                f"the clip has shape {frames.shape}, but the model sees [frames, {self.image_size}, {self.image_size}, "
                f"3]; resize its frames first."
            )
        if key_frames.ndim != 1 or not len(key_frames) or key_frames.min() < 0 or key_frames.max() >= len(frames):
            raise DataError(
                f"the key frames are {key_frames.tolist()}, but must be numbers from 0 to {len(frames) - 1}, the "
                f"frames of the clip."
            )
        if closer is not None and self._things is None:
            raise DataError(
                "the model has no word tracks, so a zoom would change nothing in its answers; leave the zoom off."
            )


@functools.partial(jax.jit, static_argnums=0)
def encode_patches(model: HiLight, params: Tree, frames: UInt8[Array, "B F Y X 3"]) -> Float[Array, "B F P E"]:
    """Encodes clips; unit vectors of their patches, which phrases are compared with."""
    key_frames = jnp.zeros((len(frames), 1), jnp.int32)  # Of the frame tower, whose result is dropped.
    seen: dict[str, Array] = model.apply(params, normalise(frames), key_frames, method="encode_video")
    return seen["patch_features"]


@functools.partial(jax.jit, static_argnums=0)
def _mine(
    model: HiLight, params: Tree, frames: Num[Array, "1 F Y X C"], key_frames: Int[Array, "1 keys"]
) -> dict[str, Float[Array, "1 ..."]]:
    """Mined tokens and their attention, and with word tracks the features of the patches."""
    seen: dict[str, Array] = model.apply(params, normalise(frames), key_frames, method="encode_video")
    patches = {name: seen.pop(name) for name in ("patch_features",) if name in seen}
    mined: dict[str, Array] = model.apply(params, **seen, method="mine")
    return mined | patches


@functools.partial(jax.jit, static_argnums=0)
def _thing_vectors(model: HiLight, params: Tree, things: Things) -> Float[Array, "O E"]:
    return model.apply(params, things.phrase_ids, things.phrase_ids > 0, things.content, method="encode_phrases")


@functools.partial(jax.jit, static_argnums=0)
def _track(
    model: HiLight, patches: Float[Array, "1 F P E"], vectors: Float[Array, "1 W E"]
) -> dict[str, Float[Array, "1 W ..."]]:
    return model.apply({}, patches, vectors, method="track")


@functools.partial(jax.jit, static_argnums=0)
def _thing_rows(
    model: HiLight,
    params: Tree,
    things: Things,
    tracks: Float[Array, "O F T"],
    features: Float[Array, "O E"],
) -> Float[Array, "O D"]:
    given = (things.ids[None], tracks[None, None], features[None, None])
    rows: Array = model.apply(params, *given, method="thing_rows")
    return rows[0, 0]


def _digest(frames: np.ndarray, key_frames: np.ndarray, closer: VideoClip | None) -> str:
    """Hashes the content of a clip."""
    digest = hashlib.sha256(f"{frames.dtype}{frames.shape}".encode())
    for array in (frames, key_frames):
        digest.update(np.ascontiguousarray(array))
    if closer is not None:
        pictures = whole_pictures(closer)
        digest.update(f"{closer.zoom}{pictures.shape}".encode())
        for array in (pictures, closer.times):
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
