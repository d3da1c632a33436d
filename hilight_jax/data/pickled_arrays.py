"""HiLight's ``.pkl`` clips: float32 arrays that were resized and normalised before they were stored.

They are read by ``data/pickle_reader.py``, which runs nothing of what a pickle may hold.
"""

import os
import pathlib

import numpy as np

from hilight_jax.data.pickle_reader import PickleError, read_pickled_array

_LARGEST_FILE = 2**30
_LARGEST_VALUE = 10.0  # CLIP's normalised pixels stay within 3.


def read_pickled_clip(path: str | pathlib.Path) -> np.ndarray:
    """Reads a clip that was resized and normalised before it was stored.

    Returns:
      float32 [F, 3, Y, X]; a leading axis of one is dropped.

    Raises:
      PickleError: The file is missing, unreadable, damaged or too large, holds anything but one array, or that is no
        such clip.
    """
    array = read_pickled_array(_content(pathlib.Path(path)))
    clip = array[0] if array.ndim == 5 and len(array) == 1 else array
    if clip.ndim != 4 or clip.shape[1] != 3 or not clip.size:
        raise PickleError(f"its array has the shape {array.shape}; a clip is [frames, 3, rows, columns].")
    if clip.dtype.kind != "f":
        raise PickleError(f"its array is {clip.dtype}; a pickled clip is floating-point, normalised as CLIP's input.")
    clip = clip.astype(np.float32)
    if not np.abs(clip).max() <= _LARGEST_VALUE:  # Also when it is not a number.
        raise PickleError(
            f"its values reach {np.abs(clip).max()}; a pickled clip is normalised as CLIP's input, within 3 of zero."
        )
    return clip


def _content(path: pathlib.Path) -> bytes:
    if not os.path.isfile(path):  # Unlike pathlib's, False also for a name that the system refuses.
        raise PickleError("the file does not exist; correct the path or remove the entry.")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise PickleError(f"the file has {path.stat().st_size} bytes, more than a clip can ({_LARGEST_FILE}).")
        return path.read_bytes()
    except OSError as error:
        raise PickleError(f"the file cannot be read ({error.strerror}).") from error
