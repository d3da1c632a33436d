"""The local loss on one device and on eight: the same numbers, and nothing but scalars between devices."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from hilight_jax.core.config import build
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from hilight_jax.losses.local import LocalLossConfig, first_tokens, local_counts, local_loss, pool_objects, term_weights
from hilight_jax.losses.sparc import highest, lowest
from tests.losses.clips import assert_close_to_absmax, random_batch

LEVEL_WEIGHTS = (0.25, 0.75)
WITHIN = LocalLossConfig(contrast="within_clip")
SAMPLES = LocalLossConfig(contrast="within_clip", reduction="sample", minmax_over="frame")
ACROSS = LocalLossConfig(contrast="across_clips", group_size=2, mask_false_negatives=True)
BOTH = LocalLossConfig(contrast="both", group_size=4, mask_false_negatives=True)


def total(config, terms, counts=None):
    """The loss that terms amount to, divided by their own counts or by those given."""
    counts = counts or {name: jnp.maximum(mean.count, 1) for name, mean in terms.items()}
    return sum(weight * terms[name].sum / counts[name] for name, weight in term_weights(config).items())


def value_and_grad(config, mesh, counts=None):
    """A compiled function of (video, text, batch, log_scale): ((loss, terms), gradients of all but the batch)."""

    def loss(video, text, batch, log_scale):
        terms = local_loss(config, video, text, LEVEL_WEIGHTS, batch, log_scale, mesh)
        return total(config, terms, counts), terms

    split, whole = batch_sharding(mesh), replicated(mesh)
    return jax.jit(
        jax.value_and_grad(loss, (0, 1, 3), has_aux=True),
        in_shardings=(split, split, split, whole),
        out_shardings=(whole, (split, split, whole)),
    )


def terms_of(config, video, text, batch, level_weights=LEVEL_WEIGHTS):
    """The terms of the loss on one device."""
    mesh = one_device()
    return jax.jit(lambda *inputs: local_loss(config, *inputs[:2], level_weights, *inputs[2:], mesh))(
        video, text, batch, jnp.float32(2)
    )


def one_device():
    return make_mesh(devices=jax.devices()[:1])


@pytest.mark.parametrize("config", [WITHIN, SAMPLES, ACROSS], ids=["within", "samples", "across"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_eight_devices_give_the_loss_and_gradients_of_one(config, dtype):
    with jax.enable_x64(dtype == "float64"):
        inputs = (*random_batch(16, dtype, levels=2), jnp.asarray(2, dtype))
        (loss, terms), grads = value_and_grad(config, one_device())(*inputs)
        (loss_of_eight, terms_of_eight), grads_of_eight = value_and_grad(config, make_mesh())(*inputs)
        relative = 1e-9 if dtype == "float64" else 1e-6
        assert_close_to_absmax((loss_of_eight, terms_of_eight), (loss, terms), relative)
        if dtype == "float64":
            assert_close_to_absmax(grads_of_eight, grads, 1e-9)
        else:
            assert_close_to_absmax(grads_of_eight, grads, 1e-5, of_largest=1e-6)


def test_a_mean_of_per_device_means_would_be_another_number():
    """Captions of unequal length: what the comparison above would refuse, had counts not travelled with sums."""
    video, text, batch = random_batch(16, levels=2)
    loss = value_and_grad(WITHIN, one_device())
    (expected, _), _ = loss(video, text, batch, jnp.float32(2))
    slices = [jax.tree.map(lambda x, i=i: x[2 * i : 2 * i + 2], (video, text, batch)) for i in range(8)]
    mean_of_means = np.mean([loss(*part, jnp.float32(2))[0][0] for part in slices])
    assert abs(mean_of_means - expected) > 1e-2 * expected


def test_only_scalar_sums_pass_between_devices():
    mesh = make_mesh()
    inputs = (*random_batch(32, levels=2), jnp.float32(2))
    program = value_and_grad(BOTH, mesh).lower(*inputs).compile().as_text()
    kinds = r"all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast|ragged-all-to-all"
    collectives = re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", program)
    assert collectives, "the sums must be added up over the devices"
    for shape, kind in collectives:
        assert kind == "all-reduce"
        assert set(re.findall(r"\[(.*?)\]", shape)) == {""}, f"an all-reduce of {shape}, not of scalars"


def test_the_collectives_of_a_program_that_gathers_are_found():
    """The check above can fail: the global loss of sharded clips does exchange vectors."""
    mesh = make_mesh()
    gram = jax.jit(lambda x: x @ x.T, in_shardings=batch_sharding(mesh), out_shardings=batch_sharding(mesh))
    program = gram.lower(jnp.ones((8, 4))).compile().as_text()
    (shape, kind), *_ = re.findall(r"= (.*?) (all-gather|all-reduce)(?:-start)?\(", program)
    assert kind == "all-gather" and re.findall(r"\[(.*?)\]", shape) != [""]


def test_the_tensor_axis_of_the_mesh_changes_nothing():
    inputs = (*random_batch(16, levels=2), jnp.float32(2))
    expected = value_and_grad(BOTH, one_device())(*inputs)
    found = value_and_grad(BOTH, make_mesh(MeshConfig(fsdp=2, tensor=2)))(*inputs)
    assert_close_to_absmax(found, expected, 1e-5, of_largest=1e-6)


@pytest.mark.parametrize("config", [WITHIN, SAMPLES, BOTH], ids=["within", "samples", "both"])
def test_counts_are_known_from_the_masks_alone(config):
    video, text, batch = random_batch(16, levels=2)
    terms = terms_of(config, video, text, batch)
    counts = local_counts(config, batch)
    assert counts == {name: mean.count for name, mean in terms.items()}
    assert set(counts) == set(term_weights(config))


def test_gradients_of_micro_batches_add_up_to_those_of_the_batch():
    video, text, batch = random_batch(16, levels=2)
    counts = local_counts(BOTH, batch)
    gradients = value_and_grad(BOTH, one_device(), counts)
    (loss, _), (video_grads, text_grads, scale_grad) = gradients(video, text, batch, jnp.float32(2))
    halves = [jax.tree.map(lambda x, half=half: x[half], (video, text, batch)) for half in (slice(8), slice(8, 16))]
    parts = [gradients(*half, jnp.float32(2)) for half in halves]
    np.testing.assert_allclose(sum(part[0][0] for part in parts), loss, rtol=1e-6)
    joined = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), parts[0][1][:2], parts[1][1][:2])
    assert_close_to_absmax(joined, (video_grads, text_grads), 1e-5, of_largest=1e-6)
    np.testing.assert_allclose(parts[0][1][2] + parts[1][1][2], scale_grad, rtol=1e-4)


def test_a_level_counts_by_its_weight():
    video, text, batch = random_batch(8, levels=2)

    def sums(*chosen):
        levels = [tuple(x[level] for level in chosen) for x in (video, text)]
        weights = [LEVEL_WEIGHTS[level] for level in chosen]
        return terms_of(WITHIN, *levels, batch, weights)["within_clip"]

    both, first, second = sums(0, 1), sums(0), sums(1)
    np.testing.assert_allclose(both.sum, first.sum + second.sum, rtol=1e-6)
    assert both.count == first.count == second.count


def test_no_contrast_is_no_loss():
    config = LocalLossConfig(contrast="none")
    assert local_loss(config, (), (), (), {}, jnp.float32(2), one_device()) == {}
    assert local_counts(config, {"local_mask": jnp.ones((2, 3), bool)}) == {} == term_weights(config)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"contrast": "within"}, "contrast is 'within', but must be one of"),
        ({"group_size": 1}, "group_size is 1, but a clip needs another to differ from"),
        ({"sharpness": 0.0}, "sharpness is 0.0, but must be greater than 0"),
        ({"mask_false_negatives": True}, "contrast 'within_clip' has no negatives in other clips"),
        ({"contrast": "across_clips", "reduction": "sample"}, "contrast 'across_clips' does not read it"),
        ({"contrast": "across_clips", "minmax_over": "frame"}, "leave it at 'clip'"),
        ({"contrast": "across_clips", "threshold": 0.0}, "threshold is 0.0, but contrast .* leave it at 1.0"),
        ({"contrast": "across_clips", "top_patches": 4}, "leave it at 0"),
        ({"threshold": -1.0}, "threshold is -1.0, but must be at least 0"),
        ({"threshold": 2.0, "top_patches": 4}, "top_patches is 4, which cannot be used with loss.local.threshold"),
        ({"shard_patches": True, "top_patches": 4}, "cannot be used with loss.local.shard_patches"),
    ],
)
def test_options_that_cannot_work_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(LocalLossConfig, options)


@pytest.mark.parametrize(
    ("num_clips", "levels", "sentence"),
    [
        (24, 2, "each of the 8 devices holds 3 clips of the batch of 24; use a group_size that divides 3"),
        (12, 2, "a batch of 12 clips does not divide over 8 devices"),
        (32, 1, "got 1 video levels, 1 text levels and 2 level weights"),
    ],
)
def test_batches_that_do_not_divide_are_refused_before_anything_runs(num_clips, levels, sentence):
    video, text, batch = random_batch(num_clips, levels=levels)
    with pytest.raises(ConfigError, match=sentence):
        jax.eval_shape(
            lambda *inputs: local_loss(BOTH, *inputs[:2], LEVEL_WEIGHTS, *inputs[2:], make_mesh()),
            video,
            text,
            batch,
            jnp.float32(2),
        )


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


FRAMES, PATCHES = 4, 7
SETTINGS = {
    "within": {"contrast": "within_clip"},
    "samples_and_frames": {"contrast": "within_clip", "reduction": "sample", "minmax_over": "frame"},
    "across": {"contrast": "across_clips", "group_size": 2},
    "both": {"contrast": "both", "group_size": 4, "mask_false_negatives": True, "queries": "objects"},
}


def program(setting, mesh, inputs, **options):
    """Loss and gradients of video, text and scale, compiled for ``mesh``."""
    config = LocalLossConfig(**SETTINGS[setting], **options)

    def loss(video, text, log_scale, batch):
        terms = local_loss(config, video, text, (1.0,), batch, log_scale, mesh)
        return sum(share * terms[name].value() for name, share in term_weights(config).items())

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2))).lower(*inputs).compile()


def example(dtype="float32"):
    video, text, batch = random_batch(8, dtype, frames=FRAMES, patches=PATCHES)
    return video, text, jnp.asarray(2, dtype), batch


@pytest.mark.parametrize(
    ("setting", "mesh", "dtype"),
    [(setting, MeshConfig(tensor=4), "float64") for setting in SETTINGS]
    + [(setting, MeshConfig(fsdp=2, tensor=2), "float32") for setting in ("within", "across")],
)
def test_split_frames_give_the_loss_and_gradients_of_whole_clips(setting, mesh, dtype):
    with jax.enable_x64(dtype == "float64"):
        inputs = example(dtype)
        expected = program(setting, make_mesh(devices=jax.devices()[:1]), inputs)(*inputs)
        found = program(setting, make_mesh(mesh), inputs, shard_patches=True)(*inputs)
        if dtype == "float64":
            assert_close_to_absmax(found, expected, 1e-12)
        else:
            assert_close_to_absmax(found, expected, 1e-5, of_largest=1e-6)


@pytest.mark.parametrize("setting", ["within", "both"])
def test_nothing_that_grows_with_patches_passes_between_devices(setting):
    text = program(setting, make_mesh(MeshConfig(tensor=4)), example(), shard_patches=True).as_text()
    kinds = r"all-reduce|reduce-scatter|all-gather|all-to-all|collective-permute"
    loss = [line for line in text.splitlines() if re.search(rf" ({kinds})(-start)?\(", line)]
    assert loss
    for line in loss:
        shapes = re.split(rf" ({kinds})", line)[0]
        for shape in re.findall(r"\[([\d,]+)\]", shapes):
            assert not {str(PATCHES), str(FRAMES * PATCHES), str(FRAMES * PATCHES // 4)} & set(shape.split(",")), line


@pytest.mark.parametrize("extreme", [(lowest, jnp.min), (highest, jnp.max)], ids=["lowest", "highest"])
def test_equal_extremes_share_the_gradient_as_in_one_array(extreme):
    split, whole = extreme
    x = jnp.array([[1.0, 1.0, 2.0, 1.0, 3.0, 3.0, 3.0, 2.0]])  # Two of three lie together on one of four devices.
    mesh, spec = make_mesh(MeshConfig(data=2, tensor=4)), PartitionSpec(None, "tensor")

    def over_devices(x):
        return jax.shard_map(lambda x: split(x, (1,), "tensor"), mesh=mesh, in_specs=spec, out_specs=PartitionSpec())(x)

    np.testing.assert_array_equal(over_devices(x), whole(x, axis=1, keepdims=True))
    found = jax.grad(lambda x: over_devices(x).sum())(x)
    np.testing.assert_array_equal(found, jax.grad(lambda x: whole(x, axis=1).sum())(x))


def test_frames_that_do_not_divide_are_refused():
    video, text, log_scale, batch = example()
    config, mesh = LocalLossConfig(shard_patches=True), make_mesh(MeshConfig(tensor=8))
    with pytest.raises(ConfigError, match="clips of 4 frames do not divide over the 8 devices of mesh axis 'tensor'"):
        local_loss(config, video, text, (1.0,), batch, log_scale, mesh)
