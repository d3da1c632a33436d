"""The losses over the global batch on a mesh: the numbers of one device, and one gather per kind of embeddings."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import MeshConfig, batch_sharding, make_mesh, replicated
from hilight_jax.losses import contrastive, long_clip
from hilight_jax.losses.gathered_contrast import LOSSES, gathered_contrast, smoothed
from tests.losses.clips import assert_close_to_absmax

NAMES = {
    "nce": ("video", "text"),
    "nce_vsc_fc": ("video", "subtitle", "caption", "frame"),
    "smoothed": ("image", "text"),
}
PER_ROW = LOSSES | {"smoothed": functools.partial(smoothed, smoothing=0.1)}
PLAIN = {
    "nce": contrastive.nce,
    "nce_vsc_fc": contrastive.nce_vsc_fc,
    "smoothed": functools.partial(long_clip.smoothed_contrast, smoothing=0.1),
}
BATCH, WIDTH = 24, 5


def example(loss, dtype="float32"):
    """Unit vectors by name, the same in every dtype, and a log scale."""
    random = np.random.default_rng(0)
    embeds = {name: random.normal(size=(BATCH, WIDTH)) for name in NAMES[loss]}
    unit = {name: x / np.linalg.norm(x, axis=1, keepdims=True) for name, x in embeds.items()}
    return {name: jnp.asarray(x.astype(np.float32), dtype) for name, x in unit.items()}, jnp.asarray(2, dtype)


def plain(loss):
    """Loss and gradients on one device, all logits at once."""

    def function(embeds, scale):
        return PLAIN[loss](*(embeds[name] for name in NAMES[loss]), scale).value()

    return jax.value_and_grad(function, (0, 1))


def compiled(loss, mesh, chunk, inputs):
    """Loss and gradients as a program for ``mesh``."""
    split, whole = batch_sharding(mesh), replicated(mesh)

    def function(embeds, scale):
        return gathered_contrast(PER_ROW[loss], embeds, scale, mesh, chunk).value()

    program = jax.jit(
        jax.value_and_grad(function, (0, 1)), in_shardings=(split, whole), out_shardings=(whole, (split, whole))
    )
    return program.lower(*inputs).compile()


@pytest.mark.parametrize("loss", NAMES)
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
@pytest.mark.parametrize("loss", ["nce", "nce_vsc_fc"])
def test_embeddings_are_gathered_once_forwards_and_their_gradients_summed_once_backwards(loss, chunk):
    program = compiled(loss, make_mesh(), chunk, example(loss)).as_text()
    kinds = r"all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast|ragged-all-to-all"
    moved = {}
    for shapes, kind in re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", program):
        moved.setdefault(kind, []).extend(re.findall(r"\[(.*?)\]", shapes))
    count = len(NAMES[loss])
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
        gathered_contrast(LOSSES["nce"], {name: x[1:] for name, x in embeds.items()}, scale, make_mesh())
