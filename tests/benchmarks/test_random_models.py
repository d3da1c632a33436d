import jax

from hilight_jax.benchmarks.random_models import random_params
from hilight_jax.models.hilight import param_shapes
from tests.models import tiny_hilight


def test_random_params_are_those_of_the_model():
    made, shapes = random_params(tiny_hilight.CONFIG), param_shapes(tiny_hilight.CONFIG)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), made) == jax.tree.map(lambda x: (x.shape, x.dtype), shapes)
    assert all(float(abs(x).max()) > 0 for x in jax.tree.leaves(made))
