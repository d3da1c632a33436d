"""Trees of named arrays."""

import numpy as np

from hilight_jax.core import trees
from hilight_jax.core.means import Mean

TREE = {"vision": {"layers": {"kernel": np.ones((2, 3))}, "bias": np.ones(3)}, "scale": np.ones(())}


def test_paths_join_with_slashes_and_come_back():
    flat = trees.flatten(TREE)
    assert list(flat) == ["vision/layers/kernel", "vision/bias", "scale"]
    assert trees.unflatten(flat) == TREE


def test_split_takes_whole_names_or_leading_parts():
    chosen, rest = trees.split(TREE, ["vision/layers"])
    assert list(trees.flatten(chosen)) == ["vision/layers/kernel"]
    assert list(trees.flatten(rest)) == ["vision/bias", "scale"]
    assert not trees.matches("visionary/bias", ["vision"])


def test_merge_undoes_split():
    assert trees.flatten(trees.merge(*trees.split(TREE, ["vision"]))).keys() == trees.flatten(TREE).keys()


def test_count_adds_all_sizes():
    assert trees.count(TREE) == 6 + 3 + 1


def test_means_of_unequal_parts_merge_exactly():
    whole = Mean(np.float32(2.0), np.float32(1)) + Mean(np.float32(2.0), np.float32(3))
    assert float(whole.value()) == 1.0
    assert float(Mean(np.float32(0.0), np.float32(0)).value()) == 0.0
