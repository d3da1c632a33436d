"""Long-CLIP's two contrastive terms on vectors whose losses can be written down."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.core.shapes import check_shapes
from hilight_jax.losses.long_clip import LongClipLossConfig, long_clip_loss, smoothed_contrast

# Cross entropy of a positive of logit 1 against one negative of logit 0.
ONE_NEGATIVE = math.log(1 + math.exp(-1))


def test_directions_are_averaged_and_pairs_counted():
    mean = check_shapes(smoothed_contrast)(jnp.eye(2), jnp.eye(2), jnp.zeros(()), 0.0)
    np.testing.assert_allclose(mean.sum, 2 * ONE_NEGATIVE, rtol=1e-6)
    assert mean.count == 2


def test_a_smoothed_label_is_shared_with_the_whole_batch():
    """A tenth of the label is spread over two texts: half a tenth goes to the wrong one, which is 1 farther."""
    mean = smoothed_contrast(jnp.eye(2), jnp.eye(2), jnp.zeros(()), 0.1)
    np.testing.assert_allclose(mean.value(), ONE_NEGATIVE + 0.05, rtol=1e-6)


def test_short_texts_meet_what_the_components_keep_of_normalised_images():
    """Four images on two axes about their mean, of which one component keeps the longer; texts are normalised too."""
    images = jnp.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.0, -0.6, 0.8]])
    texts = jax.random.normal(jax.random.key(0), (4, 3))
    config = LongClipLossConfig(components=1, group_size=4, label_smoothing=0.1)
    mesh = make_mesh(devices=jax.devices()[:1])
    terms = long_clip_loss(config, 3 * images, 2 * texts, 5 * texts, jnp.zeros(()), mesh)
    texts /= jnp.linalg.norm(texts, axis=1, keepdims=True)
    coarse = images * jnp.array([1, 0, 0]) + jnp.array([0, 0, 0.4])
    expected = {"long": images, "short": coarse}
    for name, rows in expected.items():
        value = smoothed_contrast(rows, texts, jnp.zeros(()), 0.1).value()
        np.testing.assert_allclose(terms[name].value(), value, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"components": 0}, "loss.components is 0"),
        ({"group_size": 0}, "loss.group_size is 0"),
        ({"label_smoothing": 1.0}, "loss.label_smoothing is 1.0"),
        ({"short_weight": -1.0}, "loss.short_weight is -1.0"),
    ],
)
def test_values_that_cannot_work_are_one_sentence(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        LongClipLossConfig(**change)
