"""Random clips and captions of unequal length, the same in every dtype."""

import jax
import jax.numpy as jnp
import numpy as np


def random_batch(num_clips, dtype="float32", length=9, frames=2, patches=5, width=6, levels=1, seed=0):
    """Returns patch vectors and token vectors, one array per level, and the masks of a batch.

    Every caption has another share of tokens that take part, at least one; the fourth has none. Rounded through
    float32, so that float32 and float64 see the same numbers.
    """
    random = np.random.default_rng(seed)

    def vectors(*shape):
        return jnp.asarray(random.normal(size=shape).astype(np.float32), dtype)

    video = tuple(vectors(num_clips, frames, patches, width) for _ in range(levels))
    text = tuple(vectors(num_clips, length, width) for _ in range(levels))
    mask = random.random((num_clips, length)) < random.uniform(0.1, 0.9, (num_clips, 1))
    mask[:, 0], mask[3:4] = True, False
    batch = {
        "local_mask": jnp.asarray(mask),
        "token_object": jnp.asarray(random.integers(0, 6, (num_clips, length)), jnp.int32),
        "clip_objects": jnp.asarray(random.integers(0, 6, (num_clips, 3)), jnp.int32),
    }
    return video, text, batch


def assert_close_to_absmax(actual, expected, relative, of_largest=0.0):
    """Every leaf within ``relative`` of its absmax plus ``of_largest`` times the largest absmax of all leaves."""
    actual, expected = jax.tree.leaves(actual), jax.tree.leaves(expected)
    largest = max(float(jnp.abs(x).max()) for x in expected)
    for x, y in zip(actual, expected, strict=True):
        allowed = relative * float(jnp.abs(y).max()) + of_largest * largest
        error = float(jnp.abs(np.asarray(x) - np.asarray(y)).max())
        assert error <= allowed, f"off by {error:.3g}, allowed {allowed:.3g}"
