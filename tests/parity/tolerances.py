"""Tolerances, one per kind of quantity and pass, and the table of the goldens that are not ours.

Goldens were computed in float64 and stored as float32, so the float64 pass is held to the rounding of the store. The
float32 pass is held to what the originals themselves reach in float32, three times over.
"""

import re
from collections.abc import Mapping

import numpy as np

# Float32 pass: fraction of a tensor's absmax, by kind; kinds not named are towers, losses and connectors.
_FLOAT32_RELATIVE = {
    "hilight_preproc": 1e-4,
    "gemma": 1e-4,
    "gemma_embedding_scale": 1e-4,
    "hilight": 1e-4,
    "lora": 1e-4,
    "checkpoint_directory": 1e-4,
}
_FLOAT32_DEFAULT = 3e-5
# Either pass, by name: what HiLight computed in float32 behind a rounding of the merged embeddings to float16. A few
# roundings flip where one's own embeddings are rounded; the very same float16 embeddings leave float32's own error.
FROM_OFFICIAL_FLOAT16 = "outputs/from_official_float16"
_FLOAT16_RELATIVE = {
    r"outputs/(.*/)?((logits|loss)_official_fp16cast|new_input_embeds_official_fp16)": 1e-3,
    FROM_OFFICIAL_FLOAT16: 3e-5,
}
_GRADIENT = re.compile(r"(grads|outputs/grad|outputs/grad_input)/.*")

# Every loss other than the two that CLIP-ViP's shipped configs use, and the inputs that only those losses read.
_OTHER_LOSSES = r"(outputs|grads)/(n\d+\.)?(?!NCELearnableTempLoss(_vsc_fc)?(\.|$))\w*Loss\w*(\..*)?"
NOT_OURS: Mapping[str, str] = {
    "clip_vip_losses": rf"{_OTHER_LOSSES}|inputs/\w+_feat_(extra|milnce)",
    "clip_vip_image": _OTHER_LOSSES,
    "frame_sampling": r"outputs/clipvip\.SampleFrames.*|inputs/sampleframes_cases",
}


def is_not_ours(kind: str, name: str) -> bool:
    """Says whether tensor ``name`` of a case of this kind belongs to something the project does not implement."""
    return kind in NOT_OURS and re.fullmatch(NOT_OURS[kind], name) is not None


def largest_gradient(tensors: Mapping[str, np.ndarray]) -> float:
    """The largest absolute gradient that a file holds, 0 without gradients."""
    found = [np.abs(x).max() for name, x in tensors.items() if _GRADIENT.fullmatch(name) and x.size]
    return float(max(found, default=0.0))


def tolerance(kind: str, name: str, expected: np.ndarray, dtype: str, gradient_scale: float) -> float:
    """Largest allowed absolute deviation from the golden tensor ``name``.

    Args:
      kind: Kind of the case.
      name: Name of the tensor in the file, or another name of this table.
      expected: The golden tensor.
      dtype: ``float64`` or ``float32``, the pass.
      gradient_scale: The file's ``largest_gradient``.
    """
    absmax = float(np.abs(expected).max()) if expected.size else 0.0
    for pattern, relative in _FLOAT16_RELATIVE.items():
        if re.fullmatch(pattern, name):
            return relative * absmax
    if dtype == "float64":
        return 1e-6 * absmax + 1e-9
    relative = _FLOAT32_RELATIVE.get(kind, _FLOAT32_DEFAULT)
    return relative * absmax + 1e-6 * gradient_scale
