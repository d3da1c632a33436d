"""Long-CLIP's two contrastive terms on vectors whose losses can be written down."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.losses.long_short_contrast import LongClipLossConfig, long_clip_loss


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
        logits, target = rows @ texts.T, 0.9 * jnp.eye(4) + 0.1 / 4
        value = optax.safe_softmax_cross_entropy(jnp.stack([logits, logits.T]), target).mean()
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
