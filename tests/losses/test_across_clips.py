"""The contrast across clips: against the formula written out in loops, and the facts that make it what it is."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.losses import across_clips
from hilight_jax.losses.across_clips import across_clips_loss
from tests.losses.clips import assert_close_to_absmax, random_batch
from tests.shapes import check_shapes

LOG_SCALE = jnp.float32(2)


def by_the_formula(video, text, mask, scale, group_size, sharpness=10.0, token_object=None, clip_objects=None):
    """(sum, count) of both terms, one group, caption, token, clip and patch at a time."""
    video = video / np.linalg.norm(video, axis=-1, keepdims=True)
    text = text / np.linalg.norm(text, axis=-1, keepdims=True)
    token_sum = caption_sum = 0.0
    for start in range(0, len(video), group_size):
        group = range(start, start + group_size)
        logits = np.zeros((len(video), text.shape[1], len(video)))
        for i in group:
            for k in np.flatnonzero(mask[i]):
                for j in group:
                    patches = video[j].reshape(-1, video.shape[-1])
                    weights = np.exp(sharpness * patches @ text[i, k])
                    gathered = weights @ patches
                    logits[i, k, j] = scale * text[i, k] @ gathered / np.linalg.norm(gathered)
                negatives = [j for j in group if j != i]
                if token_object is not None and token_object[i, k]:
                    negatives = [j for j in negatives if token_object[i, k] not in clip_objects[j]]
                row = logits[i, k, [i, *negatives]]
                token_sum += np.log(np.exp(row).sum()) - row[0]
        captions = [i for i in group if mask[i].any()]
        for j in captions:
            column = np.array([logits[i, mask[i], j].mean() for i in captions])
            caption_sum += np.log(np.exp(column).sum()) - column[captions.index(j)]
    return {"tokens": (token_sum, mask.sum()), "captions": (caption_sum, mask.any(1).sum())}


@pytest.mark.parametrize("group_size", [2, 4, 8])
@pytest.mark.parametrize("mask_false_negatives", [False, True])
def test_the_loss_is_the_formula(group_size, mask_false_negatives):
    (video,), (text,), batch = random_batch(8)
    ids = {key: batch[key] for key in ("token_object", "clip_objects")} if mask_false_negatives else {}
    terms = check_shapes(across_clips_loss)(video, text, batch["local_mask"], LOG_SCALE, group_size, **ids)
    arrays = [np.asarray(x, np.float64) for x in (video, text)]
    ids = {key: np.asarray(x) for key, x in ids.items()}
    expected = by_the_formula(*arrays, np.asarray(batch["local_mask"]), math.exp(2), group_size, **ids)
    for name, mean in terms.items():
        np.testing.assert_allclose(mean, expected[name], rtol=1e-5, err_msg=name)


def test_two_clips_of_one_patch_each():
    video, text = jnp.eye(2)[:, None, None, :], jnp.eye(2)[:, None, :]
    terms = across_clips_loss(video, text, jnp.ones((2, 1), bool), jnp.log(jnp.float32(3)), 2)
    for mean in terms.values():
        np.testing.assert_allclose(mean, (2 * math.log(1 + math.exp(-3)), 2), rtol=1e-6)


def test_a_clip_that_shows_the_named_object_is_no_negative_of_that_token():
    video, text, mask = jnp.eye(2)[:, None, None, :], jnp.eye(2)[:, None, :], jnp.ones((2, 1), bool)
    ids = {"token_object": jnp.array([[7], [9]]), "clip_objects": jnp.array([[7, 0], [9, 7]])}
    terms = across_clips_loss(video, text, mask, jnp.log(jnp.float32(3)), 2, **ids)
    # Clip 1 shows object 7 too, so the first token has no negative left; the second keeps clip 0.
    np.testing.assert_allclose(terms["tokens"], (math.log(1 + math.exp(-3)), 2), rtol=1e-6)


def test_tokens_without_an_object_match_no_padding():
    (video,), (text,), batch = random_batch(4)
    plain = across_clips_loss(video, text, batch["local_mask"], LOG_SCALE, 4)
    nothing = {"token_object": jnp.zeros((4, 9), jnp.int32), "clip_objects": jnp.zeros((4, 3), jnp.int32)}
    assert across_clips_loss(video, text, batch["local_mask"], LOG_SCALE, 4, **nothing) == plain


def test_order_within_and_of_groups_does_not_matter_but_membership_does():
    (video,), (text,), batch = random_batch(8)
    loss = jax.jit(lambda order: across_clips_loss(video[order], text[order], batch["local_mask"][order], LOG_SCALE, 4))
    plain = loss(jnp.arange(8))
    for same in ([4, 5, 6, 7, 0, 1, 2, 3], [2, 0, 3, 1, 7, 6, 5, 4]):
        assert_close_to_absmax(loss(jnp.array(same)), plain, 1e-5)
    other = loss(jnp.array([0, 1, 2, 7, 4, 5, 6, 3]))
    assert abs(other["tokens"].sum - plain["tokens"].sum) > 1e-2


def test_padded_tokens_do_not_change_the_loss():
    (video,), (text,), batch = random_batch(8)
    plain = across_clips_loss(video, text, batch["local_mask"], LOG_SCALE, 4)
    padded = jnp.pad(text, ((0, 0), (0, 5), (0, 0)), constant_values=1e3)
    mask = jnp.pad(batch["local_mask"], ((0, 0), (0, 5)))
    assert_close_to_absmax(across_clips_loss(video, padded, mask, LOG_SCALE, 4), plain, 1e-5)


def test_captions_without_tokens_or_clips_without_content_are_harmless():
    (video,), (text,), batch = random_batch(4)

    def value(video, text, log_scale, mask):
        return sum(mean.value() for mean in across_clips_loss(video, text, mask, log_scale, 4).values())

    gradient = jax.jit(jax.value_and_grad(value, (0, 1, 2)))
    nothing, grads = gradient(video, text, LOG_SCALE, jnp.zeros_like(batch["local_mask"]))
    assert nothing == 0
    assert not any(grad.any() for grad in grads)
    loss, grads = gradient(video.at[0].set(0), text.at[1].set(0), LOG_SCALE, batch["local_mask"])
    assert np.isfinite(loss)
    assert all(np.isfinite(grad).all() for grad in grads)


def test_chunks_of_any_size_give_the_same_loss_and_gradients(monkeypatch):
    (video,), (text,), batch = random_batch(8)

    def value(video, text, log_scale):
        terms = across_clips_loss(video, text, batch["local_mask"], log_scale, 4)
        return sum(mean.value() for mean in terms.values())

    found = []
    for size in (36, 7, 1000):
        monkeypatch.setattr(across_clips, "TOKENS_PER_CHUNK", size)
        found.append(jax.jit(jax.value_and_grad(value, (0, 1, 2)))(video, text, LOG_SCALE))
        jax.clear_caches()
    assert_close_to_absmax(found[1], found[0], 1e-5, of_largest=1e-6)
    assert_close_to_absmax(found[2], found[0], 1e-5, of_largest=1e-6)


def test_no_array_of_all_tokens_times_all_patches_is_kept():
    """Loss and gradient of 32 clips at the demo's size fit into less than one array [i, k, j, p]."""
    clips, length, patches, width = 32, 45, 256, 128
    shapes = [(clips, 4, patches // 4, width), (clips, length, width)]
    video, text = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    mask = jax.ShapeDtypeStruct((clips, length), jnp.bool_)

    def value(video, text, mask):
        return across_clips_loss(video, text, mask, LOG_SCALE, clips)["tokens"].value()

    compiled = jax.jit(jax.grad(value, (0, 1))).lower(video, text, mask).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * clips * length * clips * patches
