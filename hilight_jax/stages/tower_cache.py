"""Features of clips on disk, by the content of the clip and the fingerprint of the towers that made them."""

import hashlib
import os
import secrets
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from hilight_jax.core.errors import DataError

Features = dict[str, np.ndarray]
_DTYPE = "_dtype"  # Behind a name: its dtype. npz files know no bfloat16, so values are stored as unsigned integers.


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
