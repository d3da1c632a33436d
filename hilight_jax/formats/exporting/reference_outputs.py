"""What an exported model must still say: a fixed clip, and the numbers that the JAX model made of it.

The file ``fingerprint.safetensors`` lies in every exported directory. Whoever loads the export can feed it the clip and
compare, without this package; ``export --verify`` does.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hilight_jax.core.errors import CheckpointError
from hilight_jax.formats.exporting.shards import write_safetensors

FILE = "fingerprint.safetensors"
ANSWER_LENGTH = 32
QUESTION = "What is hit first?"


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """Inputs and outputs, by name.

    Of a chat model: ``frames`` uint8 [F, Y, X, C], ``key_frames`` int32 [keys], ``ids`` int32 [L] (expanded,
    ``VIDEO_ID`` at rows of the clip); ``video_tokens`` [V, D], ``logits`` [vocab] of the next token, ``answer_ids``
    int32 [32], what follows greedily, no token ending it. Of an encoder: ``frames``, ``text_ids`` int32 [L],
    ``text_mask`` bool [L]; ``video_embeds`` and ``text_embeds`` [E].
    """

    arrays: Mapping[str, np.ndarray]

    def write(self, directory: Path) -> None:
        """Writes the file."""
        write_safetensors(directory / FILE, self.arrays)


def read_fingerprint(directory: Path) -> Fingerprint:
    """Reads the file of an exported directory.

    Raises:
      CheckpointError: There is none.
    """
    if not (directory / FILE).is_file():
        raise CheckpointError(
            f"'{directory}' has no {FILE} to verify against: it was exported with --no_fingerprint, or is no export."
        )
    try:
        return Fingerprint(load_file(directory / FILE))
    except SafetensorError as error:
        raise CheckpointError(f"'{directory / FILE}' is damaged ({error}); export the model again.") from error


def fixed_clip(num_frames: int, size: int) -> np.ndarray:
    """A clip that anybody can make again: coloured discs that move over a shaded cloth.

    Args:
      num_frames: F.
      size: Rows and columns of a frame.

    Returns:
      uint8 [F, size, size, 3].
    """
    place = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(place, place, indexing="ij")
    cloth = np.stack([30 + 20 * x, 110 + 60 * y, 60 + 30 * (x + y)], axis=-1)
    discs = (((0.2, 0.3), (0.5, 0.2), (230, 40, 40)), ((0.8, 0.7), (-0.4, -0.3), (240, 240, 235)))
    clip = np.empty((num_frames, size, size, 3), np.uint8)
    for frame in range(num_frames):
        time, picture = frame / max(num_frames - 1, 1), cloth.copy()
        for (x0, y0), (dx, dy), colour in discs:
            inside = (x - x0 - dx * time) ** 2 + (y - y0 - dy * time) ** 2 < 0.01
            picture[inside] = colour
        clip[frame] = np.round(picture)
    return clip


def deviations(expected: Fingerprint, found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How far the outputs of an exported form lie off: the largest absolute difference of floats, the share of ids.

    ``answer_ids`` gives the number of tokens, of all, that are other ones.
    """
    result = {}
    for name, value in found.items():
        wanted = np.asarray(expected.arrays[name])
        if value.shape != wanted.shape:
            raise CheckpointError(f"the exported model gives '{name}' of shape {value.shape}, expected {wanted.shape}.")
        if np.issubdtype(wanted.dtype, np.integer):
            result[name] = float(np.sum(value != wanted))
        else:
            result[name] = float(np.abs(value.astype(np.float64) - wanted.astype(np.float64)).max())
    return result
