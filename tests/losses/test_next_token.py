"""The next token's cross entropy, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from hilight_jax.core.means import Mean
from hilight_jax.losses.next_token import next_token, next_token_count

# Rows are the logarithms of probabilities already, so a loss is minus the logarithm of one of them.
PROBABILITIES = np.array([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05]]])


def loss(labels, probabilities=PROBABILITIES):
    return next_token(jnp.log(probabilities), lambda x: x, jnp.asarray(labels))


def test_row_i_is_asked_for_label_i_plus_one():
    found = loss([[2, 1, -100, 0]])
    np.testing.assert_allclose(found.sum, -np.log(0.25) - np.log(0.2), rtol=1e-6)
    assert found.count == 2


def test_the_first_label_and_ignored_ones_do_not_count():
    assert loss([[0, -100, -100, -100]]) == Mean(0, 0)
    assert loss([[0, -100, -100, -100]]).value() == 0
    assert next_token_count(jnp.array([[0, 1, -100, 2], [1, 1, 1, -100]])) == 4


def test_parts_of_a_batch_merge_exactly():
    both, labels = np.concatenate([PROBABILITIES, PROBABILITIES[:, ::-1]]), [[0, 1, 2, 0], [0, -100, -100, 1]]
    whole = loss(labels, both)
    parts = loss(labels[:1], both[:1]) + loss(labels[1:], both[1:])
    np.testing.assert_allclose(whole.value(), parts.value(), rtol=1e-6)


def test_rows_that_count_for_nothing_get_no_gradient_even_where_logits_are_infinite():
    logits = jnp.log(PROBABILITIES).at[0, 1].set(jnp.array([-jnp.inf, 0.0, 1.0]))
    labels = jnp.array([[0, 1, -100, 2]])
    gradient = jax.grad(lambda x: next_token(x, lambda x: x, labels).sum)(logits)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0, [1, 3]], 0)


def test_low_precision_logits_are_summed_in_float32():
    found = next_token(jnp.log(PROBABILITIES).astype(jnp.bfloat16), lambda x: x, jnp.array([[0, 1, 2, 0]]))
    assert found.sum.dtype == found.count.dtype == jnp.float32
