"""The chat model: its parts, and samples of all kinds in one batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hilight_jax.core import sharding, trees
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.models.gemma_decoding import init_cache
from hilight_jax.models.hilight import HiLight, count_positions, param_shapes, parts, splice
from hilight_jax.models.hilight import variables as collections
from hilight_jax.models.hilight_config import PARTITION_RULES, PARTS, HiLightConfig
from hilight_jax.models.lora import LoraConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig
from tests.models import tiny_hilight as tiny
from tests.shapes import check_shapes

V = [VIDEO_ID] * tiny.VIDEO_TOKENS
# A clip first, text alone, and two clips with words between, as expanded ids.
ONE, TEXT, TWO = [2, *V, 5, 6], [2, 7, 8, 9], [2, 5, *V, 6, *V, 7]
MODEL = HiLight(tiny.CONFIG)


def batch(*samples, length=14, left=False):
    ids, mask = np.zeros((len(samples), length), np.int32), np.zeros((len(samples), length), bool)
    for row, sample in enumerate(samples):
        place = slice(length - len(sample), length) if left else slice(len(sample))
        ids[row, place], mask[row, place] = sample, True
    return ids, mask


@pytest.fixture(scope="module")
def variables():
    return collections(tiny.params())


@pytest.fixture(scope="module")
def logits(variables):
    run = jax.jit(lambda *x: MODEL.apply(variables, *x, method="language_model_parts"))
    return lambda *x: np.asarray(run(*x))


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
def test_a_mixed_batch_gives_what_each_sample_gives_alone(logits, left):
    clips, frames = tiny.features(3)
    ids, mask = batch(ONE, TEXT, TWO, left=left)
    together = logits(ids, mask, clips, frames)
    for row, sample in enumerate((ONE, TEXT, TWO)):
        alone = logits(*batch(sample, length=len(sample)), clips[row : row + 1], frames[row : row + 1])
        np.testing.assert_allclose(together[row][mask[row]], alone[0], atol=1e-5)


def test_each_branch_gives_what_it_gives_alone(variables):
    clips, frames = tiny.features(1)
    trunk, branches = [2, *V], ([5, 6, 7], [8, 9], [6, 5])
    joined = [*trunk, *(token for branch in branches for token in branch)]
    ids, mask = batch(joined, length=16)
    positions, numbers = np.zeros((1, 16), np.int32), np.zeros((1, 16), np.int32)
    ends = np.cumsum([len(trunk), *map(len, branches)])
    positions[0, : ends[0]] = range(ends[0])
    for k, (start, end) in enumerate(zip(ends, ends[1:], strict=False), 1):
        positions[0, start:end], numbers[0, start:end] = range(ends[0], ends[0] + end - start), k

    def run(*inputs, **branches):
        return MODEL.apply(variables, *inputs, clips, frames, method="language_model_parts", **branches)

    together = run(ids, mask, positions=positions, branch=numbers)
    for branch, start, end in zip(branches, ends, ends[1:], strict=False):
        alone = run(*batch([*trunk, *branch], length=len(trunk) + len(branch)))
        np.testing.assert_allclose(together[0, start:end], alone[0, len(trunk) :], atol=1e-5)
        np.testing.assert_allclose(together[0, : ends[0]], alone[0, : ends[0]], atol=1e-5)


def test_clips_that_a_sample_does_not_use_change_nothing(logits):
    (clips, frames), (other_clips, other_frames) = tiny.features(3), tiny.features(3, seed=1)
    ids, mask = batch(ONE, TEXT, TWO)
    before = logits(ids, mask, clips, frames)
    clips[0, 1], frames[0, 1], clips[1], frames[1] = other_clips[0, 1], other_frames[0, 1], other_clips[1], 0
    np.testing.assert_array_equal(logits(ids, mask, clips, frames), before)
    clips[2, 1] = other_clips[2, 1]
    changed = np.abs(logits(ids, mask, clips, frames) - before).max(-1) > 1e-4
    assert changed.any(1).tolist() == [False, False, True]
    assert not changed[2, :7].any(), "the words before the second clip cannot see it"


def test_the_order_of_clips_is_the_order_of_their_rows(variables):
    mined = jnp.arange(1.0, 9.0)[None, :, None] * jnp.ones((1, 8, 14))
    embeds = MODEL.apply(variables, batch(TWO)[0], mined, method="embed")[0, :, 0]
    np.testing.assert_array_equal(embeds[2:6], [1, 2, 3, 4])
    np.testing.assert_array_equal(embeds[7:11], [5, 6, 7, 8])
    table = variables["params"]["gemma"]["embedder"]["table"]
    np.testing.assert_array_equal(embeds[np.array([0, 1, 6, 11])], table[np.array([2, 5, 6, 7]), 0])


def test_pixels_and_kept_features_give_the_same(variables):
    video, (ids, mask) = tiny.video(), batch(ONE, TWO)
    keys = np.array([[[0, 2], [1, 1]], [[2, 1], [0, 0]]], np.int32)
    whole = MODEL.apply(variables, ids, mask, video, keys, method="from_pixels")
    towers = [MODEL.apply(variables, video[:, u], keys[:, u], method="encode_video") for u in range(2)]
    kept = (np.stack([out[name] for out in towers], 1) for name in ("clip_tokens", "frame_features"))
    again = MODEL.apply(variables, ids, mask, *kept, method="language_model_parts")
    np.testing.assert_allclose(whole, again, atol=1e-5)


def test_the_frame_tower_sees_the_key_frames(variables):
    video = tiny.video(1, 1)[:, 0]

    def features(*keys):
        return MODEL.apply(variables, video, np.array([keys], np.int32), method="encode_video")["frame_features"][0]

    np.testing.assert_allclose(features(2, 0, 2), np.asarray(features(0, 1, 2))[[2, 0, 2]], rtol=1e-5, atol=1e-6)


def test_tokens_one_by_one_through_the_cache_give_the_same(variables, logits):
    clips, frames = tiny.features(1)
    ids, mask = batch(ONE, length=len(ONE))
    expected = logits(ids, mask, clips, frames)

    mined = MODEL.apply(variables, clips[0], frames[0], method="mine")["tokens"].reshape(1, -1, 14)
    embeds, positions = MODEL.apply(variables, ids, mined, method="embed"), count_positions(jnp.asarray(mask))
    cache, found = init_cache(tiny.GEMMA, 1, 10), []
    for rows in (slice(0, 5), slice(5, 6), slice(6, 7)):
        arguments = embeds[:, rows], positions[:, rows], jnp.asarray(mask[:, rows]), cache
        out = MODEL.apply(variables, *arguments, method="language")
        found.append(MODEL.apply(variables, out["tokens"], method="logits"))
        cache = out["cache"]
    np.testing.assert_allclose(np.concatenate(found, 1), expected, atol=1e-5)


def test_positions_count_real_rows_from_nought():
    mask = jnp.array([[True, True, True, False], [False, False, True, True]])
    np.testing.assert_array_equal(count_positions(mask), [[0, 1, 2, 2], [0, 0, 0, 1]])


def test_gradients_reach_token_mining_through_its_rows_only(variables):
    @jax.jit
    @jax.grad
    def gradients(params, ids, mask, *features):
        tokens = MODEL.apply({"params": params}, ids, mask, *features)
        return jnp.sum(jnp.where(mask[..., None], tokens, 0) ** 2)

    for sample, reached in ((TEXT, False), (TWO, True)):
        found = gradients(variables["params"], *batch(sample), *tiny.features(1))
        assert bool(np.abs(found["token_mining"]["output"]["fc2"]["bias"]).max() > 0) is reached


def test_lora_is_a_part_and_a_collection_of_its_own():
    config = tiny.config(lora=tiny.LORA)
    params = tiny.params(config)
    assert set(params) == set(PARTS) - {"visual_projection", "text", "local", "word_tracks"}
    (ids, mask), features = batch(ONE, TWO), tiny.features()
    model, both = HiLight(config), collections(params)
    assert set(both) == {"params", "lora"} and set(both["params"]) == set(params) - {"lora"}
    with_deltas, without = (model.apply(v, ids, mask, *features) for v in (both, {"params": both["params"]}))
    assert np.abs(with_deltas - without).max() > 1e-3


def test_a_fresh_models_deltas_change_nothing():
    model = HiLight(tiny.config(lora=tiny.LORA))
    (ids, mask), features = batch(ONE, TWO), tiny.features()
    fresh = jax.jit(lambda *x: model.init(*x, method="language_model_parts"))(jax.random.key(0), ids, mask, *features)
    assert set(parts(fresh)) == {"token_mining", "gemma", "lora"}
    both, plain = (jax.jit(model.apply)(v, ids, mask, *features) for v in (fresh, {"params": fresh["params"]}))
    np.testing.assert_array_equal(both, plain)


@pytest.mark.parametrize("lora", [None, LoraConfig()], ids=["plain", "lora"])
def test_every_parameter_of_the_full_size_has_one_rule(lora):
    shapes = param_shapes(HiLightConfig(lora=lora))
    mesh = jax.make_mesh((1, 4, 2), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    sharding.shardings(shapes, PARTITION_RULES, mesh)
    counts = {part: trees.count(tree) for part, tree in shapes.items()}
    assert counts["token_mining"] == 6_892_864 and counts["gemma"] == 2_506_172_416
    assert counts.get("lora", 78_446_592) == 78_446_592


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"token_mining": TokenMiningConfig(width_video=16, width_frames=10)},
            "width_out is 2048, but gemma.width is 14",
        ),
        (
            {"token_mining": TokenMiningConfig(width_video=12, width_frames=10, width_out=14)},
            "token_mining.width_video is 12, but vision.width is 16; set both to the same",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        tiny.config(**changes)


def test_without_a_frame_tower_the_video_tower_sees_each_key_frame_as_a_clip_of_one():
    config = dataclasses.replace(tiny.config(), frames=None)
    shapes = param_shapes(config)
    assert "frames" not in shapes and list(trees.flatten(shapes["visual_projection"])) == ["kernel"]
    assert sharding.shardings(shapes, PARTITION_RULES, make_mesh(devices=jax.devices()[:1]))
    model, video = HiLight(config), tiny.video(1)[:, 0]
    keys = jnp.array([[2, 0]], jnp.int32)
    params = model.init(jax.random.key(0), video, keys, method="encode_video")["params"]
    found = model.apply({"params": params}, video, keys, method="encode_video")["frame_features"]
    for place, frame in enumerate((2, 0)):
        alone = model.apply(
            {"params": params}, video[:, frame : frame + 1], jnp.zeros((1, 1), jnp.int32), method="encode_video"
        )
        np.testing.assert_allclose(found[0, place], alone["frame_features"][0, 0], rtol=1e-5, atol=1e-5)


WORDS = jnp.arange(1, 11, dtype=jnp.float32).reshape(2, 5, 1)
ROWS = jnp.array([[[-1], [-2], [-3], [-4]], [[-5], [-6], [-7], [-8]]], jnp.float32)


def test_video_rows_take_their_samples_tokens_in_order():
    is_video = jnp.array([[0, 1, 1, 0, 1], [0, 0, 0, 1, 0]], bool)
    merged = check_shapes(splice)(WORDS, ROWS, is_video)
    np.testing.assert_array_equal(merged[..., 0], [[1, -1, -2, 4, -3], [6, 7, 8, -5, 10]])


def test_text_alone_passes_through():
    nothing = jnp.zeros((2, 5), bool)
    np.testing.assert_array_equal(splice(WORDS, ROWS, nothing), WORDS)
    np.testing.assert_array_equal(splice(WORDS, ROWS[:, :0], nothing), WORDS)


def test_only_the_rows_that_were_used_get_gradients():
    is_video = jnp.array([[0, 1, 1, 0, 1], [0, 0, 0, 1, 0]], bool)
    of_text, of_video = jax.grad(lambda *x: jnp.sum(splice(*x, is_video)), argnums=(0, 1))(WORDS, ROWS)
    np.testing.assert_array_equal(of_text[..., 0], ~is_video)
    np.testing.assert_array_equal(of_video[..., 0], [[1, 1, 1, 0], [1, 0, 0, 0]])


def test_rows_beyond_the_last_token_repeat_it():
    merged = splice(WORDS, ROWS[:, :2], jnp.ones((2, 5), bool))
    np.testing.assert_array_equal(merged[..., 0], [[-1, -2, -2, -2, -2], [-5, -6, -6, -6, -6]])


def test_text_keeps_its_dtype():
    assert splice(WORDS.astype(jnp.bfloat16), ROWS, jnp.ones((2, 5), bool)).dtype == jnp.bfloat16


@pytest.mark.skipif(jax.device_count() < 2, reason="one device only")
def test_a_sharded_batch_communicates_nothing():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    place = NamedSharding(mesh, PartitionSpec("data"))

    def gradients(text, video, is_video):
        return jax.grad(lambda *x: jnp.sum(splice(*x, is_video) ** 2), argnums=(0, 1))(text, video)

    step = jax.jit(gradients, in_shardings=place, out_shardings=place)
    program = step.lower(WORDS, ROWS, jnp.ones((2, 5), bool)).compile().as_text()
    found = [name for name in ("all-gather", "all-reduce", "all-to-all", "collective-permute") if name in program]
    assert found == []
