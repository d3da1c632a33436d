"""SPARC's local loss: arithmetic by hand, the conventions for degenerate input, both reductions."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.losses.sparc import Sparsity, align, sparc_loss, token_losses
from tests.losses.clips import random_batch
from tests.shapes import check_shapes

compiled_sparc_loss = jax.jit(sparc_loss, static_argnames=("reduction", "minmax_over"))


@functools.partial(jax.jit, static_argnums=(3, 4))
def loss_and_grads(patches, tokens, mask, reduction="token", minmax_over="clip"):
    """The mean of the loss, and its gradients with respect to patches, tokens and log scale."""

    def loss(patches, tokens, log_scale):
        return sparc_loss(patches, tokens, mask, log_scale, reduction, minmax_over).value()

    return jax.value_and_grad(loss, (0, 1, 2))(patches, tokens, jnp.float32(3))


def clip_of(frames):
    """One clip with one-dimensional patches, [1, F, P, 1]."""
    return jnp.asarray(frames, jnp.float32)[None, ..., None]


def weights_of(frames, minmax_over="clip"):
    """Weights that a token of the one number 1 gives to such patches."""
    return align(clip_of(frames), jnp.ones((1, 1, 1)), minmax_over).weights[0, 0]


def test_weights_sum_to_one_and_drop_what_is_below_one_in_the_number_of_patches():
    np.testing.assert_allclose(weights_of([[2, 1, 0, 0]]), [[2 / 3, 1 / 3, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(weights_of([[4, 1, 0.99, 0]]), [[0.8, 0.2, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("sparsity", "kept"),
    [
        (Sparsity(0.0), [1, 0.3, 0.15, 0.075, 0]),
        (Sparsity(0.5), [1, 0.3, 0.15, 0, 0]),
        (Sparsity(1.0), [1, 0.3, 0, 0, 0]),
        (Sparsity(2.0), [1, 0, 0, 0, 0]),
        (Sparsity(top=3), [1, 0.3, 0.15, 0, 0]),
        (Sparsity(top=9), [1, 0.3, 0.15, 0.075, 0]),
    ],
)
def test_what_is_dropped_goes_by_multiples_of_a_fifth_of_five_patches_or_by_number(sparsity, kept):
    alignment = align(clip_of([[4, 1.2, 0.6, 0.3, 0]]), jnp.ones((1, 1, 1)), sparsity=sparsity)
    np.testing.assert_allclose(alignment.kept[0, 0, 0], kept, rtol=1e-6)
    np.testing.assert_allclose(alignment.weights[0, 0, 0], np.array(kept) / sum(kept), rtol=1e-6)


def test_a_threshold_that_drops_every_patch_is_refused():
    with pytest.raises(ConfigError, match="loss.local.threshold is 6, more than the 5 patches of a clip"):
        align(clip_of([[4, 1.2, 0.6, 0.3, 0]]), jnp.ones((1, 1, 1)), sparsity=Sparsity(6.0))


def test_patches_as_similar_as_the_last_one_kept_are_kept_too():
    kept = align(clip_of([[3, 2, 2, 0]]), jnp.ones((1, 1, 1)), sparsity=Sparsity(top=2)).kept[0, 0, 0]
    np.testing.assert_allclose(kept, [1, 2 / 3, 2 / 3, 0], rtol=1e-6)


def test_similarity_is_scaled_over_all_frames_or_within_each():
    frames = [[3, 2], [1, 0]]
    np.testing.assert_allclose(weights_of(frames), [[3 / 6, 2 / 6], [1 / 6, 0]], rtol=1e-6)
    np.testing.assert_allclose(weights_of(frames, "frame"), [[0.5, 0], [0.5, 0]], rtol=1e-6)


def test_the_loss_of_two_tokens_that_find_their_patches():
    patches = jnp.array([[[[2.0, 0], [1, 0], [0, 1], [0, 0]]]])
    tokens = jnp.array([[[1.0, 0], [0, 1]]])
    mean = check_shapes(sparc_loss)(patches, tokens, jnp.ones((1, 2), bool), jnp.log(jnp.float32(3)))
    np.testing.assert_allclose(align(patches, tokens).grouped, [[[5 / 3, 0], [0, 1]]], rtol=1e-6)
    np.testing.assert_allclose(mean.value(), math.log(1 + math.exp(-3)), rtol=1e-6)
    assert mean.count == 2


def test_a_row_of_equal_similarities_points_nowhere():
    assert not weights_of([[5, 5], [5, 5]]).any()
    patches = jnp.array([[[[1.0, 2], [1, 3], [1, 4]]]])
    tokens = jnp.array([[[1.0, 0], [0, 1], [1, 1]]])
    grouped = align(patches, tokens).grouped
    assert not grouped[0, 0].any()
    vision_to_language, _ = token_losses(grouped, tokens, jnp.ones((1, 3), bool), jnp.float32(2))
    np.testing.assert_allclose(vision_to_language[0, 0], math.log(3), rtol=1e-6)


def test_a_clip_of_one_colour_points_nowhere_despite_rounding():
    random = np.random.default_rng(0)
    patch, tokens = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((96,), (1, 50, 96)))
    patches = jnp.broadcast_to(patch, (1, 3, 37, 96))
    assert not align(patches, tokens).weights.any()


def test_a_frame_of_one_colour_takes_no_part_when_frames_are_scaled_apart():
    np.testing.assert_allclose(weights_of([[7, 7], [2, 1]], "frame"), [[0, 0], [1, 0]])


@pytest.mark.parametrize("minmax_over", ["clip", "frame"])
@pytest.mark.parametrize("degenerate", ["zero patches", "zero tokens", "one patch", "equal patches"])
def test_gradients_of_degenerate_clips_are_finite(degenerate, minmax_over):
    (patches,), (tokens,), batch = random_batch(4)
    if degenerate == "zero tokens":
        tokens = tokens.at[0].set(0).at[1, ::2].set(0)
    elif degenerate == "one patch":
        patches = patches[:, :1, :1]
    else:
        patches = patches.at[0].set(0 if degenerate == "zero patches" else 1.5)
    value, grads = loss_and_grads(patches, tokens, batch["local_mask"], "token", minmax_over)
    assert np.isfinite(value)
    assert all(np.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("num_tokens", [0, 1])
@pytest.mark.parametrize("reduction", ["token", "sample"])
def test_no_token_or_a_single_one_gives_no_loss_and_no_gradient(num_tokens, reduction):
    (patches,), (tokens,), _ = random_batch(2)
    mask = jnp.zeros((2, 9), bool).at[:, :num_tokens].set(True)
    value, grads = loss_and_grads(patches, tokens, mask, reduction)
    assert value == 0
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("reduction", ["token", "sample"])
def test_padded_tokens_do_not_change_the_loss(reduction):
    (patches,), (tokens,), batch = random_batch(4)
    loss = functools.partial(compiled_sparc_loss, log_scale=jnp.float32(3), reduction=reduction)
    mean = loss(patches, tokens, batch["local_mask"])
    padded = jnp.pad(tokens, ((0, 0), (0, 5), (0, 0)), constant_values=1e3)
    mask = jnp.pad(batch["local_mask"], ((0, 0), (0, 5)))
    np.testing.assert_allclose(loss(patches, padded, mask), mean, rtol=1e-5)


def test_reductions_weigh_tokens_or_captions_alike():
    loss = functools.partial(compiled_sparc_loss, log_scale=jnp.float32(3))
    (patches,), (tokens,), batch = random_batch(4)
    mask = batch["local_mask"]
    by_clip = [loss(patches[i : i + 1], tokens[i : i + 1], mask[i : i + 1]) for i in range(4)]
    sums, counts = (np.array(x) for x in zip(*by_clip, strict=True))
    assert len(set(counts)) > 2 and counts[3] == 0, "captions of unequal length, the fourth empty"
    by_token = loss(patches, tokens, mask)
    np.testing.assert_allclose(by_token, (sums.sum(), counts.sum()), rtol=1e-5)
    by_sample = loss(patches, tokens, mask, reduction="sample")
    np.testing.assert_allclose(by_sample, ((sums[:3] / counts[:3]).sum(), 3), rtol=1e-5)
