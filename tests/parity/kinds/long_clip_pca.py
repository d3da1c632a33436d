"""Kind ``long_clip_pca``: what principal components keep of a group, and the gradient through them."""

import jax
import jax.numpy as jnp

from hilight_jax.losses.principal_components import principal_components
from tests.parity.case import Case


def check(case: Case) -> None:
    """Every sub-case that the file has components for; without a cotangent the value alone."""
    for name, components in case.config["cases"].items():
        x = jnp.asarray(case.input(name))
        kept, transpose = jax.vjp(lambda x, k=components: principal_components(x, k), x)
        case.compare(f"outputs/{name}.PCA", kept)
        cotangent = case.input(f"{name}.cotangent")
        if cotangent is not None:
            case.compare(f"grads/{name}", transpose(jnp.asarray(cotangent))[0])
