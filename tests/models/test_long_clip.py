"""Long-CLIP's towers: positions, embeddings, sizes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core import trees
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.core.sharding import shardings
from hilight_jax.models.layers import ComputeConfig
from hilight_jax.models.long_clip import PARTITION_RULES, FrameTower, LongClip, LongClipConfig, LongTextTower
from tests.models.tiny_long_clip import CONFIG, FRAMES, TEXT, shapes

IDS = np.array([[28, 3, 4, 5, 29, 0, 0], [28, 7, 29, 0, 0, 0, 0]], np.int32)


def drawn(tree):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), x.dtype), tree)


@pytest.fixture(scope="module")
def params():
    return drawn(shapes(CONFIG))


def test_the_real_model_has_the_published_number_of_parameters():
    """Long-CLIP B/16: CLIP's 149,620,737, and 2 x 248 - 77 rows of positions of width 512 more."""
    assert trees.count(shapes(LongClipConfig())) == 149_620_737 + (2 * 248 - 77) * 512 == 149_835_265


def test_every_parameter_matches_one_partition_rule():
    tree = shapes(LongClipConfig())
    mesh = make_mesh(devices=jax.devices()[:1])
    assert trees.flatten(shardings(tree, PARTITION_RULES, mesh)).keys() == trees.flatten(tree).keys()


def test_first_positions_come_from_one_table_and_the_others_from_the_second(params):
    first, second = (np.arange(9 * 12, dtype=np.float32).reshape(9, 12) + shift for shift in (0, 1000))
    tower = LongTextTower(TEXT, ComputeConfig())
    tables = {"position_embedding": first, "position_embedding_res": second}
    variables = {"params": params["text"] | tables}
    np.testing.assert_array_equal(
        tower.apply(variables, 5, method="positions"), np.concatenate([first[:3], second[3:5]])
    )
    np.testing.assert_array_equal(tower.apply(variables, 2, method="positions"), first[:2])


def test_longer_padding_does_not_change_a_text(params):
    model = LongClip(CONFIG)
    encode = jax.jit(lambda ids: model.apply({"params": params}, ids, method="encode_text"))
    np.testing.assert_allclose(encode(np.pad(IDS, ((0, 0), (0, 2)))), encode(IDS), atol=1e-5)


def test_embeddings_are_projected_and_not_normalised(params):
    images = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)
    out = FrameTower(FRAMES, ComputeConfig()).apply({"params": params["frames"]}, images, keep_outputs=True)
    assert out["tokens"].shape == (3, 5, 16) and len(out["outputs"]) == 2
    expected = out["pooled"] @ params["frames"]["projection"]["kernel"]
    np.testing.assert_allclose(out["embeds"], expected, rtol=1e-5)
    doubled = jax.tree.map(lambda x: x, params["frames"])
    doubled["projection"] = {"kernel": 2 * params["frames"]["projection"]["kernel"]}
    twice = FrameTower(FRAMES, ComputeConfig()).apply({"params": doubled}, images)
    np.testing.assert_allclose(twice["embeds"], 2 * out["embeds"], rtol=1e-5)


def test_frames_of_another_size_are_refused(params):
    tower = FrameTower(FRAMES, ComputeConfig())
    with pytest.raises(ConfigError, match="frames are 12x8 pixels, but this tower takes frames of whole 4x4 patches"):
        tower.apply({"params": params["frames"]}, np.zeros((1, 12, 8, 3), np.float32))
    with pytest.raises(ConfigError, match=r"frames have shape \(1, 1, 8, 8, 3\), but must be \[B, Y, X, C\]"):
        tower.apply({"params": params["frames"]}, np.zeros((1, 1, 8, 8, 3), np.float32))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: dataclasses.replace(FRAMES, patch_size=3), "frames.image_size is 8, but must be a multiple"),
        (lambda: dataclasses.replace(FRAMES, num_heads=3), "frames.width is 16, but must be a multiple"),
        (lambda: dataclasses.replace(TEXT, kept_positions=10), "text.kept_positions is 10, but must lie between 0"),
        (lambda: LongClipConfig(FRAMES), "model.frames.embed_dim is 10, but model.text.embed_dim is 512"),
    ],
)
def test_sizes_that_cannot_work_are_one_sentence(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()
