"""The frozen towers of a chat model: clips and phrases in, features out, each clip once if there is a cache.

The towers run as a program of their own, on this host's devices alone and on a fixed number of clips at a time. So a
clip's features do not depend on the batch it came in, and training on stored features is bitwise training on fresh
ones.
"""

import functools
import hashlib
import os
import secrets
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hilight_jax.core.errors import DataError
from hilight_jax.core.mesh import AXES, batch_sharding, replicated, under_mesh
from hilight_jax.data.conversations.words import PHRASE_BUCKETS, encode_names
from hilight_jax.generation.phrase_vectors import chat_phrase_vectors
from hilight_jax.models.clip import normalise
from hilight_jax.models.hilight import HiLight
from hilight_jax.models.hilight_config import TOWER_PARTS, HiLightConfig

FEATURES = ("clip_tokens", "frame_features")
CLIPS_PER_DEVICE = 8
Features = dict[str, np.ndarray]
_DTYPE = "_dtype"  # Behind a name: its dtype. npz files have no bfloat16, so values are stored as unsigned integers.


class TowerCache:
    """One file per clip under ``directory/<fingerprint>``; full, it stores no more and still gives what it has.

    A file that cannot be read, torn by a kill for example, counts as absent and is written anew.
    """

    def __init__(self, directory: Path, towers: str, limit_bytes: float):
        """Opens the store of the towers with this fingerprint; ``limit_bytes`` bounds the sum of its files."""
        self._directory, self._limit = Path(directory) / towers, limit_bytes
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"the cache of tower outputs {self._directory} cannot be made: {error.strerror}; set config.cache_gb=0."
            ) from error
        self._bytes = sum(path.stat().st_size for path in self._directory.glob("*/*.npz"))
        self.hits = self.misses = 0

    def get(self, frames: np.ndarray, key_frames: np.ndarray) -> Features | None:
        """The features of a clip, or None.

        Args:
          frames: uint8 [F, Y, X, C].
          key_frames: int32 [Fk].
        """
        try:
            with np.load(self._path(frames, key_frames), allow_pickle=False) as file:
                names = [name for name in file.files if not name.endswith(_DTYPE)]
                features = {name: file[name].view(jnp.dtype(str(file[name + _DTYPE]))) for name in names}
        except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile):
            features = None
        self.hits, self.misses = self.hits + (features is not None), self.misses + (features is None)
        return features

    def put(self, frames: np.ndarray, key_frames: np.ndarray, features: Features) -> None:
        """Stores the features of a clip, unless that would pass the limit."""
        size = sum(x.nbytes for x in features.values())
        if self._bytes + size > self._limit:
            return
        path = self._path(frames, key_frames)
        path.parent.mkdir(exist_ok=True)
        # Two hosts can have one process number, and evaluation runs beside the thread that reads ahead.
        partial = path.with_suffix(f".{secrets.token_hex(8)}.partial")
        dtypes = {name + _DTYPE: np.array(x.dtype.name) for name, x in features.items()}
        with partial.open("wb") as file:
            np.savez(file, **{name: x.view(np.dtype(f"u{x.itemsize}")) for name, x in features.items()}, **dtypes)
        os.replace(partial, path)
        self._bytes += size

    def _path(self, frames: np.ndarray, key_frames: np.ndarray) -> Path:
        digest = hashlib.blake2b(digest_size=20)
        for array in (frames, key_frames):
            digest.update(f"{array.shape} {array.dtype};".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        name = digest.hexdigest()
        return self._directory / name[:2] / f"{name[2:]}.npz"


class Towers:
    """CLIP-ViP+ and Long-CLIP with fixed parameters."""

    def __init__(
        self,
        config: HiLightConfig,
        params: Mapping[str, Any],
        cache: TowerCache | None = None,
        clips_per_device: int = CLIPS_PER_DEVICE,
        things: tuple[str, ...] | None = None,
    ):
        """Places the parameters of ``TOWER_PARTS`` on every device of this host; clips get tracks of ``things``."""
        devices = jax.local_devices()
        self.chunk = clips_per_device * len(devices)
        self._config, self._cache, self._things = config, cache, things
        self._vectors = None if config.word_tracks is None else chat_phrase_vectors(config, params)
        self._track = jax.jit(functools.partial(HiLight(config).apply, {}, method="track"))
        towers = {name: params[name] for name in TOWER_PARTS if name in params}
        groups = device_groups(devices, whole=jax.process_count() == 1)
        self._programs = [
            (tower_program(config, group), jax.device_put(towers, replicated(_mesh(group)))) for group in groups
        ]

    def features(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The features of a host's batch of conversations.

        Args:
          batch: ``video`` uint8 [B, U, F, Y, X, C], ``key_frames`` int32 [B, U, Fk] and ``video_mask`` bool [B, U]; for
            word tracks also ``phrase_ids`` and ``phrase_content`` [B, W, L].

        Returns:
          ``clip_tokens`` [B, U, S, D] and ``frame_features`` [B, U, Fk, E]; with word tracks ``word_tracks``
          [B, U, W, F, T], ``thing_tracks`` [B, U, O, F, T] and ``thing_features`` [B, U, O, E]. Zeros where there is no
          clip.
        """
        rows = np.argwhere(batch["video_mask"])
        clips = [(batch["video"][b, u], batch["key_frames"][b, u]) for b, u in rows]
        found = [self._cache.get(*clip) if self._cache else None for clip in clips]
        missing = [i for i, features in enumerate(found) if features is None]
        for start in range(0, len(missing), self.chunk):
            part = missing[start : start + self.chunk]
            fresh = self._encode([clips[i] for i in part])
            for row, i in enumerate(part):
                found[i] = {name: x[row] for name, x in fresh.items()}
                if self._cache:
                    self._cache.put(*clips[i], found[i])
        shapes = feature_shapes(
            self._config, batch["video"].shape[2:], batch["key_frames"].shape[2], self._things, _num_phrases(batch)
        )
        out = {name: np.zeros((*batch["video_mask"].shape, *x.shape), x.dtype) for name, x in shapes.items()}
        if self._vectors is not None:
            self._add_tracks(found, rows[:, 0], batch)
        for (b, u), features in zip(rows, found, strict=True):
            for name in shapes:
                out[name][b, u] = features[name]
        return out

    def _add_tracks(
        self, found: list[dict[str, np.ndarray]], rows: np.ndarray, batch: Mapping[str, np.ndarray]
    ) -> None:
        """Adds the tracks of the phrases of each clip's conversation, a fixed number of clips at a time."""
        ids, content = batch["phrase_ids"], batch["phrase_content"]
        flat = (x.reshape(-1, x.shape[-1]) for x in (ids, content))
        vectors = self._vectors(*flat).reshape(*ids.shape[:2], -1)
        for start in range(0, len(found), self.chunk):
            part = found[start : start + self.chunk]
            patches = np.zeros((self.chunk, *part[0]["patch_features"].shape), part[0]["patch_features"].dtype)
            asked = np.zeros((self.chunk, *vectors.shape[1:]), vectors.dtype)
            for row, features in enumerate(part):
                patches[row], asked[row] = features["patch_features"], vectors[rows[start + row]]
            tracks = np.asarray(self._track(patches, asked)["tracks"])
            for row, features in enumerate(part):
                features["word_tracks"] = tracks[row]

    def _encode(self, clips: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
        """Encodes at most one chunk of clips; black clips fill it up."""
        video = np.zeros((self.chunk, *clips[0][0].shape), np.uint8)
        keys = np.zeros((self.chunk, *clips[0][1].shape), np.int32)
        for row, (frames, key_frames) in enumerate(clips):
            video[row], keys[row] = frames, key_frames
        share = self.chunk // len(self._programs)
        parts = [
            run(params, video[i * share : (i + 1) * share], keys[i * share : (i + 1) * share])
            for i, (run, params) in enumerate(self._programs)
        ]
        made = jax.device_get(parts)
        features = {name: np.concatenate([part[name] for part in made]) for name in made[0]}
        if self._vectors is not None:
            patches, things = features["patch_features"], self._things or ()
            vectors = self._vectors(*encode_names(things)) if things else patches[0, 0, :0]
            found = self._track(patches, np.broadcast_to(vectors, (self.chunk, *vectors.shape)))
            features |= {"thing_tracks": np.asarray(found["tracks"]), "thing_features": np.asarray(found["features"])}
        return features


def device_groups(devices: Sequence[jax.Device], whole: bool) -> list[list[jax.Device]]:
    """The devices of a host as they can share a program: all of them, but each alone on a part of a v5e pod.

    The compiler refuses programs for several v5e chips that are not all of their slice, whatever they would send;
    ``whole`` means that there are no other hosts.
    """
    if whole or devices[0].device_kind != "TPU v5 lite":
        return [list(devices)]
    return [[device] for device in devices]


def tower_program(config: HiLightConfig, devices: Sequence[jax.Device]) -> Any:
    """The jitted towers on these devices, clips split over them: ``(params, video, key_frames)`` to features.

    The features are ``FEATURES`` and, with word tracks, the ``patch_features`` that phrases are compared with.
    """
    mesh = _mesh(devices)
    whole, split = replicated(mesh), batch_sharding(mesh)
    model = HiLight(config)

    def run(params: Any, video: jax.Array, key_frames: jax.Array) -> dict[str, jax.Array]:
        return model.apply({"params": params}, normalise(video), key_frames, method="encode_video")

    return jax.jit(under_mesh(mesh, run), in_shardings=(whole, split, split), out_shardings=split)


def tower_shapes(
    config: HiLightConfig, clip_shape: tuple[int, ...], num_key_frames: int, clips: int
) -> tuple[dict[str, Any], jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """Shapes of what ``tower_program`` takes: parameters, ``video`` and ``key_frames`` of so many clips."""
    video = jax.ShapeDtypeStruct((clips, *clip_shape), jnp.uint8)
    keys = jax.ShapeDtypeStruct((clips, num_key_frames), jnp.int32)
    pixels = jax.ShapeDtypeStruct(video.shape, jnp.float32)
    init = functools.partial(HiLight(config).init, method="encode_video")
    return jax.eval_shape(init, jax.random.key(0), pixels, keys)["params"], video, keys


@functools.lru_cache
def feature_shapes(
    config: HiLightConfig,
    clip_shape: tuple[int, ...],
    num_key_frames: int,
    things: tuple[str, ...] | None = None,
    num_phrases: int = PHRASE_BUCKETS[0],
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of one clip's features as ``Towers.features`` gives them; a function of the configuration alone."""
    out = jax.eval_shape(
        tower_program(config, jax.local_devices()[:1]), *tower_shapes(config, clip_shape, num_key_frames, 1)
    )
    if config.word_tracks is not None:
        patches, track = out.pop("patch_features"), functools.partial(HiLight(config).apply, {}, method="track")
        of_things, of_words = (
            jax.eval_shape(track, patches, jax.ShapeDtypeStruct((1, number, patches.shape[-1]), jnp.float32))
            for number in (len(things or ()), num_phrases)
        )
        out |= {"thing_tracks": of_things["tracks"], "thing_features": of_things["features"]}
        out["word_tracks"] = of_words["tracks"]
    return {name: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for name, x in out.items()}


def _num_phrases(batch: Mapping[str, np.ndarray]) -> int:
    return batch["phrase_ids"].shape[1] if "phrase_ids" in batch else PHRASE_BUCKETS[0]


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    """These devices in a row, along an axis that batches are split over."""
    return Mesh(np.array(devices).reshape(-1, 1, 1), AXES)
