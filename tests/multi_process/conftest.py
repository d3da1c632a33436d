"""A small world for all jobs."""

import pytest

from hilight_jax.billiards.dataset import build
from hilight_jax.billiards.worlds import get_world


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    build(get_world("demo-v2"), directory, {"train": 24, "validation": 8, "unseen": 0})
    return directory
