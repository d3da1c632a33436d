"""Kind ``hilight_preproc``: resize and normalise of HiLight, and CLIP-ViP's variant without antialias."""

import jax.numpy as jnp
import numpy as np

from hilight_jax.data.transforms import resize
from hilight_jax.models.clip import normalise


def check(case):
    """Compares every size of the case; the originals' layout is [T, 3, y, x]."""
    dtype = np.dtype(case.dtype).type
    for match in case.names("inputs/(.+)"):
        name = match[1]
        frames, size = case.input(name).astype(dtype), tuple(case.config["sizes"][name])
        for output, antialias in (("hilight", True), ("clipvip_no_antialias", False)):
            pixels = normalise(jnp.asarray(resize(frames, size, antialias)), dtype)
            case.compare(f"outputs/{name}.{output}", _channels_first(pixels))
        case.compare(f"outputs/{name}.resized_0_1", _channels_first(resize(frames / 255, size)))


def _channels_first(frames):
    return frames.transpose(0, 3, 1, 2)
