"""Long-CLIP's coarse image features: the projection of a group of images on its first principal components.

Projecting centred rows on their first k right singular vectors is truncating their singular value decomposition. The
derivative of that truncation needs only the gaps between the kept and the dropped singular values, so it is written
out here: differentiating the decomposition itself divides by every gap, and equal values inside the kept part (which
cancel) would make the gradient infinite.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from hilight_jax.core.errors import ConfigError
from hilight_jax.core.mesh import BATCH_AXES, batch_shards
from hilight_jax.ops.vectors import PRECISION, at_least_float32

_product = functools.partial(jnp.matmul, precision=PRECISION)


def principal_components(x: Float[Array, "B E"], k: int) -> Float[Array, "B E"]:
    """``CLIP.PCA`` of Long-CLIP: projects the centred rows on their first ``k`` principal axes, adds the mean back.

    Rows are not normalised again. With ``k >= B - 1`` or ``k >= E`` nothing is dropped and ``x`` comes back. Gradients
    flow through mean and axes.

    Args:
      x: Feature vectors of one group.
      k: Components to keep.
    """
    x = at_least_float32(x)
    if k >= min(len(x) - 1, x.shape[1]):
        return x
    mean = jnp.mean(x, axis=0)
    return _truncated(x - mean, k) + mean


def grouped_components(x: Float[Array, "B E"], k: int, group_size: int, mesh: Mesh) -> Float[Array, "B E"]:
    """``principal_components`` of every run of ``group_size`` consecutive rows of the global batch.

    The original takes the rows of one GPU. Here the groups are fixed, so that the result does not depend on the number
    of devices, and each lies on one device, so that nothing is communicated.

    Raises:
      ConfigError: At trace time, when groups and devices do not divide the batch.
    """
    local, rest = divmod(len(x), batch_shards(mesh))
    if rest or local % group_size:
        raise ConfigError(
            f"loss.group_size is {group_size}, but a batch of {len(x)} images over {batch_shards(mesh)} devices gives "
            f"each {len(x) / batch_shards(mesh):g}; use a group_size that divides this, or another batch_size."
        )
    split = PartitionSpec(BATCH_AXES)

    def groups(x: Array) -> Array:
        runs = x.reshape(-1, group_size, x.shape[-1])
        return jax.vmap(lambda run: principal_components(run, k))(runs).reshape(x.shape)

    return jax.shard_map(groups, mesh=mesh, in_specs=split, out_specs=split)(at_least_float32(x))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _truncated(x: Array, k: int) -> Array:
    """The best approximation of ``x`` [B, E] of rank ``k``."""
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    return _product(u[:, :k] * s[:k], vt[:k])


@_truncated.defjvp
def _truncated_jvp(k: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """The derivative by perturbation theory.

    With u, s, v the kept and u', s', v' the dropped triples: a change dx keeps what touches the kept row or column
    space, and couples the two by ``s'(s' u.dx.v' + s u'.dx.v) / (s^2 - s'^2)`` at u, v' and likewise at u', v.
    """
    (x,), (dx,) = primals, tangents
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    (u, u_), (s, s_), (vt, vt_) = (u[:, :k], u[:, k:]), (s[:k, None], s[None, k:]), (vt[:k], vt[k:])
    left, right = _product(u.T, dx), _product(dx, vt.T)
    kept = _product(u, left) + _product(right, vt) - _product(_product(u, _product(left, vt.T)), vt)
    gap = jnp.square(s) - jnp.square(s_)
    inverse = jnp.where(gap > 0, 1 / jnp.where(gap > 0, gap, 1), 0)
    at_rows, at_columns = _product(left, vt_.T), _product(u_.T, right).T
    to_rows = s_ * (s_ * at_rows + s * at_columns) * inverse
    to_columns = s_ * (s_ * at_columns + s * at_rows) * inverse
    coupled = _product(_product(u, to_rows), vt_) + _product(_product(u_, to_columns.T), vt)
    return _product(u * s[:, 0], vt), kept + coupled
