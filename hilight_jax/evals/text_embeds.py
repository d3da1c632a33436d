"""Embeds any number of texts in batches of one shape."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from hilight_jax.data.tokenizers import Tokens

EncodeText = Callable[[np.ndarray, np.ndarray], Mapping[str, Any]]  # As `encoder_evaluation.EncoderLike.encode_text`.


def text_embeds(encode_text: EncodeText, texts: Sequence[Tokens], batch_size: int) -> Float[np.ndarray, "num_texts E"]:
    """Returns the embeddings of at least one text, in float64; the last batch is filled up with its last text."""
    embeds = []
    for start in range(0, len(texts), batch_size):
        batch = list(texts[start : start + batch_size])
        rows = batch + batch[-1:] * (batch_size - len(batch))
        out = encode_text(np.stack([row.ids for row in rows]), np.stack([row.mask for row in rows]))
        embeds.append(np.asarray(out["text_embeds"], np.float64)[: len(batch)])
    return np.concatenate(embeds)
