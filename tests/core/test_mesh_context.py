import re

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from hilight_jax.core.mesh import MeshConfig, batch_sharding, make_mesh
from hilight_jax.core.mesh_context import current_mesh, split_over_batch, under_mesh

TABLE, IDS = jax.ShapeDtypeStruct((64, 32), jnp.float32), jax.ShapeDtypeStruct((16, 24), jnp.int32)


def tokens(table, ids):
    return split_over_batch(table[ids]) @ table.T


def test_without_a_mesh_nothing_happens():
    x = jnp.ones((3, 2))
    assert current_mesh() is None and split_over_batch(x) is x


def test_another_programs_mesh_is_none_of_ours():
    mesh = jax.make_mesh((8,), ("clips",), axis_types=(jax.sharding.AxisType.Auto,))
    assert under_mesh(mesh, current_mesh)() is None


def test_the_mesh_is_seen_inside_and_gone_afterwards():
    mesh = make_mesh(MeshConfig(fsdp=2))
    seen = under_mesh(mesh, lambda: current_mesh().shape)()
    assert dict(seen) == {"data": 4, "fsdp": 2, "tensor": 1} and current_mesh() is None


def test_tokens_of_a_table_split_by_width_are_split_by_batch():
    mesh = make_mesh(MeshConfig(fsdp=8))
    table = NamedSharding(mesh, PartitionSpec(None, "fsdp"))
    step = jax.jit(under_mesh(mesh, tokens), in_shardings=(table, batch_sharding(mesh)))
    compiled = step.lower(TABLE, IDS).compile()
    logits = {int(rows) for rows in re.findall(r"f32\[(\d+),24,64\]", compiled.as_text())}
    assert logits == {2}
