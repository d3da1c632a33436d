"""Principal components of groups: what is kept, and gradients where singular values coincide."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import make_mesh
from hilight_jax.losses.principal_components import grouped_components, principal_components
from tests.shapes import check_shapes


def test_the_first_component_keeps_the_longest_axis_and_the_mean():
    x = jnp.array([[5.0, 1.0], [1.0, 3.0], [5.0, 3.0], [1.0, 1.0]])  # About (3, 2): 2 along x, 1 along y.
    expected = [[5.0, 2.0], [1.0, 2.0], [5.0, 2.0], [1.0, 2.0]]
    np.testing.assert_allclose(check_shapes(principal_components)(x, 1), expected, atol=1e-6)


@pytest.mark.parametrize("k", [2, 3, 32])
def test_nothing_is_dropped_where_all_components_fit(k):
    """Three rows about their mean span two axes at most."""
    x = jax.random.normal(jax.random.key(0), (3, 5))
    cotangent = jax.random.normal(jax.random.key(1), (3, 5))
    kept, transpose = jax.vjp(lambda x: principal_components(x, k), x)
    np.testing.assert_array_equal(kept, x)
    np.testing.assert_array_equal(transpose(cotangent)[0], cotangent)


def test_the_gradient_is_that_of_finite_differences():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (7, 5), jnp.float64)
        cotangent = jax.random.normal(jax.random.key(1), (7, 5), jnp.float64)

        def objective(x):
            return jnp.sum(principal_components(x, 2) * cotangent)

        gradient, step = jax.grad(objective)(x), 1e-6
        for at in ((0, 0), (3, 4), (6, 2)):
            change = objective(x.at[at].add(step)) - objective(x.at[at].add(-step))
            np.testing.assert_allclose(gradient[at], change / (2 * step), rtol=1e-6)


def test_equal_singular_values_among_the_kept_leave_the_gradient_finite():
    """Two kept axes of the same length: the decomposition is not unique, what it keeps is."""
    axes = np.eye(3)[:, [0, 1, 2]] * [2.0, 2.0, 1.0]
    x = jnp.asarray(np.concatenate([axes, -axes]), jnp.float32)
    kept, transpose = jax.vjp(lambda x: principal_components(x, 2), x)
    np.testing.assert_allclose(kept, np.asarray(x) * [1, 1, 0], atol=1e-6)
    gradient = transpose(jnp.ones_like(x))[0]
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 10


def test_groups_do_not_depend_on_the_number_of_devices():
    x = jax.random.normal(jax.random.key(0), (16, 6))
    meshes = [make_mesh(devices=jax.devices()[:count]) for count in (1, 4)]
    one, four = (jax.jit(functools.partial(grouped_components, k=2, group_size=4, mesh=mesh))(x) for mesh in meshes)
    np.testing.assert_allclose(four, one, atol=1e-6)
    np.testing.assert_allclose(one[4:8], principal_components(x[4:8], 2), atol=1e-6)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="loss.group_size is 3, but a batch of 16 images over 1 devices"):
        grouped_components(jnp.zeros((16, 6)), 2, 3, make_mesh(devices=jax.devices()[:1]))
