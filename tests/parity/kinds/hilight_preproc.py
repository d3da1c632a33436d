"""Kind ``hilight_preproc``: resize and normalise of HiLight, and CLIP-ViP's variant without antialias."""

import numpy as np

from hilight_jax.data import transforms


def check(case):
    """Compares every size of the case; the originals' layout is [T, 3, y, x]."""
    dtype = np.dtype(case.dtype).type
    for match in case.names("inputs/(.+)"):
        name = match[1]
        frames, size = case.input(name), tuple(case.config["sizes"][name])
        case.compare(f"outputs/{name}.hilight", _channels_first(transforms.preprocess(frames, size, dtype=dtype)))
        resized = transforms.resize(frames.astype(dtype) / 255, size)
        case.compare(f"outputs/{name}.resized_0_1", _channels_first(resized))
        plain = transforms.preprocess(frames, size, antialias=False, dtype=dtype)
        case.compare(f"outputs/{name}.clipvip_no_antialias", _channels_first(plain))


def _channels_first(frames):
    return frames.transpose(0, 3, 1, 2)
