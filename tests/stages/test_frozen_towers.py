import re

import jax
import numpy as np
import pytest

from hilight_jax.models.hilight import HiLight
from hilight_jax.stages.frozen_towers import (
    FEATURES,
    Towers,
    device_groups,
    feature_shapes,
    tower_program,
    tower_shapes,
)
from hilight_jax.stages.tower_cache import TowerCache
from tests.stages.tiny_chat import tiny_chat_config

CONFIG = tiny_chat_config().model
RNG = np.random.default_rng(0)
CLIPS = RNG.integers(0, 256, (20, 4, 64, 64, 3), dtype=np.uint8)
KEYS = np.arange(4, dtype=np.int32)


@pytest.fixture(scope="module")
def params():
    video, keys = np.zeros((1, 4, 64, 64, 3), np.float32), KEYS[None]
    return HiLight(CONFIG).init(jax.random.key(0), video, keys, method="encode_video")["params"]


def batch(numbers):
    """Conversations about these clips, -1 for an absent one; [B, U]."""
    numbers = np.array(numbers)
    return {
        "video": np.where((numbers >= 0)[..., None, None, None, None], CLIPS[numbers], 0),
        "key_frames": np.broadcast_to(KEYS, (*numbers.shape, 4)),
        "video_mask": numbers >= 0,
    }


def test_a_clips_features_do_not_depend_on_its_company_or_place(params):
    towers = Towers(CONFIG, params, clips_per_device=2)
    assert towers.chunk == 16
    alone = towers.features(batch([[7, -1]]))
    many = towers.features(batch([[i, 7 if i == 3 else -1] for i in range(18)]))
    for name in FEATURES:
        assert np.array_equal(alone[name][0, 0], many[name][7, 0])
        assert np.array_equal(alone[name][0, 0], many[name][3, 1])
        assert not many[name][0, 1].any()


def test_devices_encode_without_a_word_to_each_other():
    """So the towers may run in one thread while a step runs in another, in any order on any host."""
    shapes = tower_shapes(CONFIG, CLIPS.shape[1:], 4, 16)
    program = tower_program(CONFIG, jax.local_devices()).lower(*shapes).compile().as_text()
    assert not re.search(r"all-(reduce|gather|to-all)|reduce-scatter|collective", program)


def test_stored_features_are_bitwise_fresh_ones_and_are_not_computed_again(params, tmp_path):
    fresh = Towers(CONFIG, params).features(batch([[1, 2], [3, -1]]))
    cache = TowerCache(tmp_path, "towers", 1e9)
    towers = Towers(CONFIG, params, cache)
    for _ in range(2):
        stored = towers.features(batch([[1, 2], [3, -1]]))
        for name in FEATURES:
            assert fresh[name].dtype == stored[name].dtype and np.array_equal(fresh[name], stored[name])
    assert (cache.hits, cache.misses) == (3, 3)
    assert all(np.array_equal(towers.features(batch([[5, 1]]))[name][0, 1], fresh[name][0, 0]) for name in FEATURES)


def test_features_have_the_shapes_that_the_configuration_tells(params):
    shapes = feature_shapes(CONFIG, (4, 64, 64, 3), 4)
    assert {name: x.shape for name, x in shapes.items()} == {"clip_tokens": (4 + 4 * 16, 16), "frame_features": (4, 16)}
    made = Towers(CONFIG, params).features(batch([[1]]))
    assert {name: (x.shape[2:], x.dtype) for name, x in made.items()} == {
        name: (x.shape, x.dtype) for name, x in shapes.items()
    }


def test_chips_of_a_part_of_a_v5e_pod_run_programs_of_their_own():
    class Chip:
        def __init__(self, device_kind):
            self.device_kind = device_kind

    light, other = [Chip("TPU v5 lite") for _ in range(4)], [Chip("TPU v4") for _ in range(4)]
    assert device_groups(light, whole=True) == [light] and device_groups(other, whole=False) == [other]
    assert device_groups(light, whole=False) == [[chip] for chip in light]


def test_features_are_the_same_whether_devices_share_a_program_or_not(params, monkeypatch):
    two, asked = jax.devices()[:2], batch([[i, -1] for i in range(3)])
    monkeypatch.setattr("hilight_jax.stages.frozen_towers.jax.local_devices", lambda: two)
    shared = Towers(CONFIG, params, clips_per_device=1).features(asked)
    monkeypatch.setattr("hilight_jax.stages.frozen_towers.device_groups", lambda devices, whole: [[x] for x in devices])
    alone = Towers(CONFIG, params, clips_per_device=1).features(asked)
    assert all(np.array_equal(shared[name], alone[name]) for name in FEATURES)
