"""Encodes clips into rows of the language model, and caches the rows of the latest clips."""

import collections
import dataclasses
import functools
import hashlib

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

from hilight_jax.core.errors import DataError
from hilight_jax.core.trees import Tree
from hilight_jax.models.clip import normalise
from hilight_jax.models.hilight import TOWER_PARTS, HiLight, HiLightConfig, variables


@dataclasses.dataclass(frozen=True, eq=False)
class ClipFeatures:
    """The output of token mining for a clip.

    Attributes:
      digest: Hash of the clip's pixels and key frames.
      tokens: [V, D], its rows in the language model.
      attention: [V, S], each row's attention to the clip's S = M + F * P video tokens: proxies first, then patches
        frame by frame.
      key_frames: Indices of the frames that the frame tower saw.
    """

    digest: str
    tokens: np.ndarray
    attention: np.ndarray
    key_frames: np.ndarray


class ClipEncoder:
    """Both towers and token mining, with a cache of the latest clips."""

    def __init__(self, config: HiLightConfig, params: Tree, cache_size: int = 16):
        """Takes the towers and token mining out of a model's parameters; caches ``cache_size`` clips."""
        parts = {name: params[name] for name in (*TOWER_PARTS, "token_mining") if name in params}
        self._model, self._variables = HiLight(config), variables(jax.device_put(parts))
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
            tokens, attention = _encode(self._model, self._variables, frames[None], key_frames[None])
            self._cached[digest] = ClipFeatures(digest, np.asarray(tokens), np.asarray(attention), key_frames)
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
    model: HiLight, params: Tree, frames: Num[Array, "1 F Y X C"], key_frames: Int[Array, "1 keys"]
) -> tuple[Float[Array, "V D"], Float[Array, "V S"]]:
    video = normalise(frames, model.config.compute.dtypes["dtype"])
    seen: dict[str, Array] = model.apply(params, video, key_frames, method="encode_video")
    mined: dict[str, Array] = model.apply(params, **seen, method="mine")
    return mined["tokens"][0], mined["attention"][0]


def _digest(frames: np.ndarray, key_frames: np.ndarray) -> str:
    """Hashes the content of a clip."""
    digest = hashlib.sha256(f"{frames.dtype}{frames.shape}".encode())
    for array in (frames, key_frames):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
