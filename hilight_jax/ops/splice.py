"""Video tokens into a sequence of text, with static shapes: a gather, not a list that grows."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def splice(
    text_embeds: Float[Array, "B L D"], video_tokens: Float[Array, "B rows D"], is_video: Bool[Array, "B L"]
) -> Float[Array, "B L D"]:
    """Fills the i-th video row of each sample with row i of its video tokens.

    Every sample takes from its own tokens only, so nothing is communicated when the batch is sharded. A sample may use
    fewer rows than it has (absent clips, text alone); more rows than tokens cannot be filled and repeat the last one:
    whoever builds the ids counts them.

    Args:
      text_embeds: Embeddings of the text; whatever stands at video rows is replaced.
      video_tokens: The video tokens of all of a sample's clips, one after the other.
      is_video: True where a video token belongs.

    Returns:
      The merged sequence in ``text_embeds``' dtype.
    """
    last = video_tokens.shape[1] - 1
    if last < 0:
        return text_embeds
    row = jnp.clip(jnp.cumsum(is_video, axis=1, dtype=jnp.int32) - 1, 0, last)
    rows = jnp.take_along_axis(video_tokens, row[..., None], axis=1)
    return jnp.where(is_video[..., None], rows.astype(text_embeds.dtype), text_embeds)
