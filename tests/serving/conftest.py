"""A small model that is served, and a film to show it; one of each for every file of tests."""

import numpy as np
import pytest

from tests.data.clips import encode


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Working directory of a small model."""
    pytest.importorskip("fastapi")
    from tests.serving.server import small_run

    return small_run(tmp_path_factory.mktemp("run") / "small")


@pytest.fixture(scope="module")
def client(run):
    """A client of its server."""
    from tests.serving.server import served

    with served(run) as client:
        yield client


@pytest.fixture(scope="module")
def film():
    """An MP4 file of noise."""
    return encode(np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8))
