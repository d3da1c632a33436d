"""The local loss with frames split over devices: the numbers of whole clips, and no patches between devices."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import MeshConfig, make_mesh
from hilight_jax.losses.local import LocalLossConfig, local_loss, term_weights
from hilight_jax.losses.over_frames import highest, lowest
from tests.losses.clips import assert_close_to_absmax, random_batch

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
