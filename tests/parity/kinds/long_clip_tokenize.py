"""Kind ``long_clip_tokenize``: ids of Long-CLIP's ``tokenize(texts, truncate=True)``."""

import numpy as np

from hilight_jax.data.tokenizers import ClipTokenizer


def check(case):
    """Compares the ids of all texts; the text length is that of the stored array."""
    tokenizer = ClipTokenizer(case.tensors["outputs/tokens"].shape[1])
    case.exact("outputs/tokens", np.stack([tokenizer(text).ids for text in case.sidecar["texts"]]))
