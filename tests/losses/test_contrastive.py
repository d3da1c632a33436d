"""The contrastive losses: on vectors whose losses can be written down, and on any mesh the numbers of one device."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from hilight_jax.losses.contrastive import LOSSES, clamp_log_scale, contrastive_loss, smoothed
from tests.losses.clips import assert_close_to_absmax
from tests.shapes import check_shapes

NAMES = {
    "nce": ("video", "text"),
    "nce_vsc_fc": ("video", "subtitle", "caption", "frame"),
    "smoothed": ("image", "text"),
}
PER_ROW = LOSSES | {"smoothed": functools.partial(smoothed, smoothing=0.1)}
BATCH, WIDTH = 24, 5
SWAP_MASK = np.arange(BATCH * 2).reshape(BATCH, 2) % 3 > 0  # Two, one or the other of two false captions of a clip.
# Cross entropy of a positive of logit 1 against one, or two, negatives of logit 0.
ONE_NEGATIVE = math.log(1 + math.exp(-1))
TWO_NEGATIVES = math.log(1 + 2 * math.exp(-1))


def on_one_device(loss, *embeds, log_scale=0.0, per_row=None):
    """The loss of embeddings in the order of ``NAMES`` on a mesh of one device."""
    named, scale = dict(zip(NAMES[loss], embeds, strict=True)), jnp.asarray(log_scale, jnp.float32)
    mesh = make_mesh(devices=jax.devices()[:1])
    return check_shapes(contrastive_loss)(per_row or PER_ROW[loss], named, scale, mesh)


nce, nce_vsc_fc = (functools.partial(on_one_device, loss) for loss in LOSSES)


def test_nce_sums_both_directions_and_counts_clips():
    mean = nce(jnp.eye(2), jnp.eye(2))
    np.testing.assert_allclose(mean.sum, 2 * 2 * ONE_NEGATIVE, rtol=1e-6)
    assert mean.count == 2


def test_the_learned_scale_is_a_logarithm():
    sharp = nce(jnp.eye(2), jnp.eye(2), log_scale=math.log(3))
    np.testing.assert_allclose(sharp.value(), 2 * math.log(1 + math.exp(-3)), rtol=1e-6)


def test_vsc_fc_shares_the_negatives_of_the_video_between_subtitles_and_captions():
    mean = nce_vsc_fc(*[jnp.eye(2)] * 4)
    np.testing.assert_allclose(mean.value(), 4 * ONE_NEGATIVE + 2 * TWO_NEGATIVES, rtol=1e-6)


def test_the_own_caption_is_no_negative_of_the_own_subtitle():
    video = subtitle = jnp.eye(2)
    loss = jax.grad(lambda caption: nce_vsc_fc(video, subtitle, caption, caption).sum)
    with_own = loss(jnp.eye(2))
    assert with_own[0, 0] < 0, "moving a caption towards its own video must lower the loss"


def with_swaps(swaps, mask, video=None, text=None):
    """``nce`` of two clips, by default the unit vectors of the plane, with one false caption each."""
    embeds = {"video": jnp.eye(2) if video is None else video, "text": jnp.eye(2) if text is None else text}
    mesh, swaps = make_mesh(devices=jax.devices()[:1]), jnp.asarray(swaps, jnp.float32)[:, None]
    mask = jnp.asarray(mask)[:, None]
    return check_shapes(contrastive_loss)(LOSSES["nce"], embeds, jnp.float32(0), mesh, swaps=(swaps, mask))


def test_a_swap_joins_the_candidates_of_its_own_clip_alone():
    """The first clip's swap equals its caption, so that logit 1 stands against 0 and 1; the second clip has none."""
    mean = with_swaps([[1, 0], [1, 0]], [True, False])
    to_text = math.log(2 * math.e + 1) - 1
    np.testing.assert_allclose(mean.sum, to_text + ONE_NEGATIVE + 2 * ONE_NEGATIVE, rtol=1e-6)
    assert mean.count == 2


def test_clips_without_a_swap_lose_as_without_any():
    gradient = jax.grad(lambda swaps: with_swaps(swaps, [False, False]).sum)(jnp.ones((2, 2)))
    assert with_swaps([[1, 0], [0, 1]], [False, False]) == nce(jnp.eye(2), jnp.eye(2))
    np.testing.assert_array_equal(gradient, 0)


def test_a_swap_that_equals_its_caption_pushes_the_video_from_it_as_hard_as_towards_it():
    """A clip alone gives its caption and its swap a half each: one is pulled by a half, the other pushed by it."""
    video, text = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 0.0]])
    of_text = jax.grad(lambda x: with_swaps(text, [True], video, x).sum)(text)
    of_swap = jax.grad(lambda x: with_swaps(x, [True], video, text).sum)(text)
    np.testing.assert_allclose(of_text, [[-0.5, 0]], atol=1e-7)
    np.testing.assert_allclose(of_swap, [[0.5, 0]], atol=1e-7)


@pytest.mark.parametrize("log_scale", [0.0, 5.298])
def test_one_clip_alone_has_nothing_to_tell_apart(log_scale):
    one = jnp.ones((1, 1))
    assert nce(one, one, log_scale=log_scale).value() == 0
    assert nce_vsc_fc(one, one, one, one, log_scale=log_scale).value() == 0


def test_bfloat16_vectors_are_compared_in_float32():
    random = np.random.default_rng(0)
    video, text = (jnp.asarray(random.normal(size=(4, 8)), jnp.bfloat16) for _ in range(2))
    mean = nce(video, text, log_scale=3)
    assert mean.sum.dtype == jnp.float32
    assert mean == nce(video.astype(jnp.float32), text.astype(jnp.float32), log_scale=3)


def test_smoothed_averages_directions_and_counts_pairs():
    mean = on_one_device("smoothed", *[jnp.eye(2)] * 2, per_row=functools.partial(smoothed, smoothing=0.0))
    np.testing.assert_allclose(mean.sum, 2 * ONE_NEGATIVE, rtol=1e-6)
    assert mean.count == 2


def test_a_smoothed_label_is_shared_with_the_whole_batch():
    """A tenth of the label is spread over two texts: half a tenth goes to the wrong one, which is 1 farther."""
    mean = on_one_device("smoothed", jnp.eye(2), jnp.eye(2))
    np.testing.assert_allclose(mean.value(), ONE_NEGATIVE + 0.05, rtol=1e-6)


def test_the_scale_stays_between_1_and_200():
    clamped = clamp_log_scale(jnp.array([-1.0, 0.0, 4.6, math.log(200), 6.0]))
    np.testing.assert_allclose(jnp.exp(clamped), [1, 1, math.exp(4.6), 200, 200], rtol=1e-5)


def example(loss, dtype="float32"):
    """Unit vectors by name, the same in every dtype, and a log scale."""
    random = np.random.default_rng(0)
    embeds = {name: random.normal(size=(BATCH, WIDTH)) for name in NAMES[loss.removesuffix("_swaps")]}
    if loss == "nce_swaps":
        embeds["swaps"] = random.normal(size=(*SWAP_MASK.shape, WIDTH))
    unit = {name: x / np.linalg.norm(x, axis=-1, keepdims=True) for name, x in embeds.items()}
    return {name: jnp.asarray(x.astype(np.float32), dtype) for name, x in unit.items()}, jnp.asarray(2, dtype)


def by_the_formula(loss, embeds, scale):
    """The mean loss of a batch, from its logits written out."""

    def log_probabilities(query, key, *more):
        logits = [jnp.exp(scale) * embeds[query] @ embeds[x].T for x in (key, *more)]
        others = [jnp.where(jnp.eye(BATCH), -jnp.inf, x) for x in logits[1:]]
        return jax.nn.log_softmax(jnp.concatenate([logits[0], *others], axis=1), axis=1)[:, :BATCH]

    if "swaps" in embeds:
        false = jnp.exp(scale) * jnp.einsum("bne,be->bn", embeds["swaps"], embeds["video"])
        logits = jnp.exp(scale) * embeds["video"] @ embeds["text"].T
        from_video = jnp.concatenate([logits, jnp.where(SWAP_MASK, false, -1e9)], axis=1)
        both = jnp.trace(log_probabilities("text", "video")) + jnp.trace(jax.nn.log_softmax(from_video, axis=1))
        return -both / BATCH
    if loss == "smoothed":
        target = 0.9 * jnp.eye(BATCH) + 0.1 / BATCH
        both = log_probabilities("image", "text") + log_probabilities("text", "image")
        return -jnp.sum(target * both) / 2 / BATCH
    terms = [("video", "text"), ("text", "video")]
    if loss == "nce_vsc_fc":
        terms = [("subtitle", "video"), ("caption", "video"), ("frame", "caption"), ("caption", "frame")]
        terms += [("video", "subtitle", "caption"), ("video", "caption", "subtitle")]
    return -sum(jnp.trace(log_probabilities(*term)) for term in terms) / BATCH


def plain(loss):
    """Loss and gradients on one device, all logits at once."""
    return jax.value_and_grad(functools.partial(by_the_formula, loss), (0, 1))


def compiled(loss, mesh, chunk, inputs):
    """Loss and gradients as a program for ``mesh``."""
    split, whole = batch_sharding(mesh), replicated(mesh)

    def function(embeds, scale):
        swaps = (embeds["swaps"], SWAP_MASK) if "swaps" in embeds else None
        embeds = {name: x for name, x in embeds.items() if name != "swaps"}
        per_row = PER_ROW[loss.removesuffix("_swaps")]
        return contrastive_loss(per_row, embeds, scale, mesh, chunk, swaps).value()

    program = jax.jit(
        jax.value_and_grad(function, (0, 1)), in_shardings=(split, whole), out_shardings=(whole, (split, whole))
    )
    return program.lower(*inputs).compile()


@pytest.mark.parametrize("loss", [*NAMES, "nce_swaps"])
@pytest.mark.parametrize(
    ("mesh", "chunk", "dtype"),
    [("one", 2, "float64"), ("eight", 0, "float64"), ("eight", 2, "float64"), ("eight", 2, "float32")],
)
def test_any_mesh_and_chunk_give_the_loss_and_gradients_of_all_logits_on_one_device(loss, mesh, chunk, dtype):
    relative = 1e-12 if dtype == "float64" else 1e-5
    with jax.enable_x64(dtype == "float64"):
        inputs = example(loss, dtype)
        mesh = make_mesh(devices=jax.devices()[:1]) if mesh == "one" else make_mesh(MeshConfig(fsdp=4))
        found = compiled(loss, mesh, chunk, inputs)(*inputs)
        assert_close_to_absmax(found, plain(loss)(*inputs), relative, of_largest=relative / 10)


@pytest.mark.parametrize(("mesh", "chunk"), [(MeshConfig(fsdp=2, tensor=2), 4), (MeshConfig(fsdp=1, tensor=8), 5)])
def test_a_last_shorter_chunk_and_an_axis_that_does_not_split_the_batch_change_nothing(mesh, chunk):
    inputs = example("nce")
    found = compiled("nce", make_mesh(mesh), chunk, inputs)(*inputs)
    assert_close_to_absmax(found, plain("nce")(*inputs), 1e-5, of_largest=1e-6)


@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("loss", ["nce", "nce_vsc_fc", "nce_swaps"])
def test_embeddings_are_gathered_once_forwards_and_their_gradients_summed_once_backwards(loss, chunk):
    program = compiled(loss, make_mesh(), chunk, example(loss)).as_text()
    kinds = r"all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast|ragged-all-to-all"
    moved = {}
    for shapes, kind in re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", program):
        moved.setdefault(kind, []).extend(re.findall(r"\[(.*?)\]", shapes))
    count = len(NAMES[loss.removesuffix("_swaps")])
    assert moved.pop("all-gather") == [f"{BATCH},{WIDTH}"] * count
    assert moved.pop("reduce-scatter") == [f"{BATCH // 8},{WIDTH}"] * count
    assert set(moved.pop("all-reduce")) == {""} and not moved


def test_logits_of_more_than_a_chunk_never_exist():
    rows = BATCH // 8
    for chunk, largest in ((0, rows), (1, 1)):
        program = compiled("nce", make_mesh(), chunk, example("nce")).as_text()
        found = {int(rows) for rows in re.findall(rf"f32\[(\d+),{BATCH}\]", program)}
        assert max(found - {WIDTH}) == largest, "transposed embeddings have as many columns"


def test_a_batch_that_does_not_divide_is_refused():
    embeds, scale = example("nce")
    with pytest.raises(ConfigError, match="a batch of 23 clips does not divide over 8 devices; use a multiple of 8"):
        contrastive_loss(LOSSES["nce"], {name: x[1:] for name, x in embeds.items()}, scale, make_mesh())
