"""Encodes clips into rows of the language model, and caches those of the latest clips."""

import collections
import dataclasses
import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from hilight_jax.core.errors import DataError
from hilight_jax.core.trees import Tree
from hilight_jax.data.conversations.words import Things
from hilight_jax.models.clip import normalise
from hilight_jax.models.hilight import HiLight, variables
from hilight_jax.models.hilight_config import TOWER_PARTS, HiLightConfig


@dataclasses.dataclass(frozen=True, eq=False)
class ClipFeatures:
    """A clip as the language model sees it.

    Attributes:
      digest: Hash of the clip's pixels and key frames.
      tokens: [V, D], its rows in the language model: those of token mining, then, with word tracks, those of things.
      attention: [V, S], the clip's S = M + F * P video tokens that each row comes from, proxies first, then patches
        frame by frame: the attention of token mining, or a thing's map as shares of the clip. Rows sum to 1.
      key_frames: Indices of the frames that the frame tower saw.
      patches: [F, P, E], unit vectors that phrases are compared with; None without word tracks.
    """

    digest: str
    tokens: np.ndarray
    attention: np.ndarray
    key_frames: np.ndarray
    patches: np.ndarray | None = None


class ClipEncoder:
    """Both towers and token mining, with a cache of the latest clips."""

    def __init__(self, config: HiLightConfig, params: Tree, things: Things | None = None, cache_size: int = 16):
        """Takes the towers and the connector out of a model's parameters; caches ``cache_size`` clips."""
        names = (*TOWER_PARTS, "token_mining", "word_tracks")
        parts = {name: params[name] for name in names if name in params}
        if config.word_tracks is not None:
            parts["gemma"] = {"embedder": params["gemma"]["embedder"]}
        self._model, self._variables, self._things = HiLight(config), variables(jax.device_put(parts)), things
        self._size, self._cache_size = config.vision.image_size, cache_size
        self._cached: collections.OrderedDict[str, ClipFeatures] = collections.OrderedDict()

    def __call__(self, frames: np.ndarray, key_frames: np.ndarray) -> ClipFeatures:
        """Encodes a clip.

        Args:
          frames: [F, Y, X, C], RGB: uint8, or floats of 0..255 as resizing returns them.
          key_frames: int [keys], indices of the frames that the frame tower sees.

        Raises:
          DataError: The frames have not the towers' shape, or a key frame is out of range.
        """
        frames, key_frames = np.asarray(frames), np.asarray(key_frames, np.int32)
        self._check(frames, key_frames)
        digest = _digest(frames, key_frames)
        if digest not in self._cached:
            made = _encode(self._model, self._variables, frames[None], key_frames[None], self._things)
            arrays = {name: np.asarray(x[0]) for name, x in made.items()}
            self._cached[digest] = ClipFeatures(digest, key_frames=key_frames, **arrays)
            if len(self._cached) > self._cache_size:
                self._cached.popitem(last=False)
        self._cached.move_to_end(digest)
        return self._cached[digest]

    def _check(self, frames: np.ndarray, key_frames: np.ndarray) -> None:
        if frames.ndim != 4 or not len(frames) or frames.shape[1:] != (self._size, self._size, 3):
            raise DataError(
                f"the clip has shape {frames.shape}, but the model sees [frames, {self._size}, {self._size}, 3]; "
                f"resize its frames first."
            )
        if key_frames.ndim != 1 or not len(key_frames) or key_frames.min() < 0 or key_frames.max() >= len(frames):
            raise DataError(
                f"the key frames are {key_frames.tolist()}, but must be numbers from 0 to {len(frames) - 1}, the "
                f"frames of the clip."
            )


@functools.partial(jax.jit, static_argnums=0)
def _encode(
    model: HiLight,
    params: Tree,
    frames: Num[Array, "1 F Y X C"],
    key_frames: Int[Array, "1 keys"],
    things: Things | None,
) -> dict[str, Float[Array, "1 ..."]]:
    """The arrays of ``ClipFeatures``."""
    video = normalise(frames)
    seen: dict[str, Array] = model.apply(params, video, key_frames, method="encode_video")
    patches = seen.pop("patch_features", None)
    made: dict[str, Array] = model.apply(params, **seen, method="mine")
    if things is None or patches is None:
        return made
    vectors: Array = model.apply(
        params, things.phrase_ids, things.phrase_ids > 0, things.content, method="encode_phrases"
    )
    found: dict[str, Array] = model.apply(params, patches, vectors[None], method="track")
    given = (things.ids[None], *(found[name][:, None] for name in ("tracks", "features")))
    rows: Array = model.apply(params, *given, method="thing_rows")
    maps = found["maps"].reshape(len(vectors), patches.shape[1] * patches.shape[2])
    proxies = ((0, 0), (model.config.vision.num_proxy_tokens, 0))
    shares = jnp.pad(jax.nn.softmax(model.config.word_tracks.sharpness * maps, axis=-1), proxies)
    return {
        "tokens": jnp.concatenate([made["tokens"], rows[:, 0].astype(made["tokens"].dtype)], axis=1),
        "attention": jnp.concatenate([made["attention"], shares[None]], axis=1),
        "patches": patches,
    }


def _digest(frames: np.ndarray, key_frames: np.ndarray) -> str:
    """Hashes the content of a clip."""
    digest = hashlib.sha256(f"{frames.dtype}{frames.shape}".encode())
    for array in (frames, key_frames):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
