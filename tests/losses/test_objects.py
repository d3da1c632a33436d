"""Tokens that name one thing become one query."""

import jax.numpy as jnp
import numpy as np

from hilight_jax.losses.local import LocalLossConfig, local_counts
from hilight_jax.losses.objects import first_tokens, pool_objects

# "the red ball hits the blue one , red": object 7 is red, 9 is blue, "hits" is content that names no known thing.
OBJECT = jnp.array([[0, 7, 7, 0, 0, 9, 9, 0, 7]])
MASK = jnp.array([[0, 1, 1, 1, 0, 1, 0, 0, 1]], bool)


def test_the_first_token_of_every_thing_and_every_other_content_word_are_queries():
    assert first_tokens(MASK, OBJECT).astype(int).tolist() == [[0, 1, 0, 1, 0, 1, 0, 0, 0]]


def test_a_query_is_the_mean_of_the_tokens_that_take_part():
    text = jnp.arange(9.0)[None, :, None]
    pooled = pool_objects(text, MASK, OBJECT)[0, :, 0]
    np.testing.assert_allclose(pooled[1], (1 + 2 + 8) / 3, rtol=1e-6)
    np.testing.assert_allclose(pooled[3], 3.0)
    np.testing.assert_allclose(pooled[5], 5.0)  # Token 6 names the same ball but is masked out.


def test_counts_are_those_of_the_queries():
    config = LocalLossConfig(contrast="across_clips", queries="objects", group_size=2)
    batch = {"local_mask": jnp.concatenate([MASK, MASK & False]), "token_object": jnp.concatenate([OBJECT, OBJECT])}
    counts = local_counts(config, batch)
    assert float(counts["across_tokens"]) == 3.0
    assert float(counts["across_captions"]) == 1.0
