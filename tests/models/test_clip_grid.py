"""Places of patches, and averages over a coarser grid, on frames of 3 by 3 patches behind one proxy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import ConfigError
from hilight_jax.models.clip_grid import PositionEmbeddings, count_frames, pooling_weights
from hilight_jax.models.clip_vip import VisionConfig
from hilight_jax.models.layers import ComputeConfig

VISION = VisionConfig(
    image_size=12, patch_size=4, width=4, depth=1, num_heads=1, mlp_dim=4, num_frames=2, num_proxy_tokens=1
)
# One dimension for each axis: frames count hundreds, rows tens, columns ones.
TABLES = {"frame": [[100.0], [200.0]], "row": [[10.0], [20.0], [30.0]], "column": [[1.0], [2.0], [3.0]]}
FRAME = [11, 12, 13, 21, 22, 23, 31, 32, 33]


def embeddings(num_tokens):
    model = PositionEmbeddings(VISION, 1, ComputeConfig())
    tables = {name: jnp.array(table) for name, table in TABLES.items()}
    return model.apply({"params": tables}, num_tokens)[:, 0].tolist()


def test_a_patch_takes_the_sum_of_its_frames_its_rows_and_its_columns_row():
    assert embeddings(19) == [0, *(100 + x for x in FRAME), *(200 + x for x in FRAME)]


def test_a_clip_of_another_length_stretches_the_frames_table_alone():
    assert embeddings(10) == [0, *(150 + x for x in FRAME)]
    four = embeddings(1 + 4 * 9)
    assert four[1::9] == [111, 136, 186, 211] and four[1:10] == [100 + x for x in FRAME]


def test_fresh_tables_are_zero():
    model = PositionEmbeddings(VISION, 5, ComputeConfig())
    shapes = jax.tree.map(jnp.shape, model.init(jax.random.key(0), 19)["params"])
    assert shapes == {"frame": (2, 5), "row": (3, 5), "column": (3, 5)}
    assert not model.init_with_output(jax.random.key(0), 19)[0].any()


def test_two_by_two_places_of_three_by_three_patches_overlap():
    weights = pooling_weights(VISION, 10, num_frames=1, side=2)
    assert (4 * weights).tolist() == [
        [0, 1, 1, 0, 1, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1, 1, 0, 1, 1],
    ]


def test_frames_are_averaged_where_fewer_are_wanted():
    weights = pooling_weights(VISION, 1 + 4 * 9, num_frames=2, side=1)
    frames = (18 * weights[:, 1::9]).round(6).tolist()
    assert frames == [[1, 1, 0, 0], [0, 0, 1, 1]]
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)


def test_the_whole_grid_is_the_patches_themselves():
    np.testing.assert_array_equal(pooling_weights(VISION, 19, 2, 3)[:, 1:], np.eye(18))


@pytest.mark.parametrize("num_tokens", [1, 11, 18])
def test_tokens_that_are_not_whole_frames_are_refused(num_tokens):
    with pytest.raises(ConfigError, match=rf"a clip has {num_tokens} tokens, but .* makes 1 \+ F \* 9"):
        count_frames(num_tokens, VISION)


def test_a_grid_finer_than_the_patches_is_refused():
    with pytest.raises(ConfigError, match="tokens_per_frame is 16, but a frame has 3 by 3 patches; set it to 9 or"):
        pooling_weights(VISION, 10, 1, 4)
