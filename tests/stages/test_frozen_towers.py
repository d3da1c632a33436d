import re
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.words import encode_phrases
from hilight_jax.models.hilight import HiLight
from hilight_jax.stages.frozen_towers import FEATURES as TOWER_FEATURES
from hilight_jax.stages.frozen_towers import (
    TowerCache,
    Towers,
    device_groups,
    feature_shapes,
    tower_program,
    tower_shapes,
)
from tests.stages.tiny_chat import tiny_chat_config

CONFIG = tiny_chat_config().model
RNG = np.random.default_rng(0)
CLIPS = RNG.integers(0, 256, (20, 6, 64, 64, 3), dtype=np.uint8)
KEYS = np.arange(4, dtype=np.int32)
THINGS = ("the red ball", "the cue ball")
FEATURES = (*TOWER_FEATURES, "word_tracks", "thing_tracks", "thing_features")


@pytest.fixture(scope="module")
def params():
    video, keys = np.zeros((1, 6, 64, 64, 3), np.float32), KEYS[None]
    return HiLight(CONFIG).init(jax.random.key(0), video, keys, method="encode_video")["params"]


def batch(numbers):
    """Conversations about these clips, -1 for an absent one; [B, U]."""
    numbers = np.array(numbers)
    words = encode_phrases(["the red ball", "the dog"] * 8)
    ids, content = (np.broadcast_to(x, (len(numbers), *x.shape)) for x in words)
    return {
        "phrase_ids": ids,
        "phrase_content": content,
        "video": np.where((numbers >= 0)[..., None, None, None, None], CLIPS[numbers], 0),
        "key_frames": np.broadcast_to(KEYS, (*numbers.shape, 4)),
        "video_mask": numbers >= 0,
    }


def test_a_clips_features_do_not_depend_on_its_company_or_place(params):
    towers = Towers(CONFIG, params, things=THINGS, clips_per_device=2)
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
    fresh = Towers(CONFIG, params, things=THINGS).features(batch([[1, 2], [3, -1]]))
    cache = TowerCache(tmp_path, "towers", 1e9)
    towers = Towers(CONFIG, params, cache, things=THINGS)
    for _ in range(2):
        stored = towers.features(batch([[1, 2], [3, -1]]))
        for name in FEATURES:
            assert fresh[name].dtype == stored[name].dtype and np.array_equal(fresh[name], stored[name])
    assert (cache.hits, cache.misses) == (3, 3)
    assert all(np.array_equal(towers.features(batch([[5, 1]]))[name][0, 1], fresh[name][0, 0]) for name in FEATURES)


def test_features_have_the_shapes_that_the_configuration_tells(params):
    shapes = feature_shapes(CONFIG, (6, 64, 64, 3), 4, THINGS)
    assert {name: x.shape for name, x in shapes.items()} == {
        "clip_tokens": (4 + 6 * 16, 16),
        "frame_features": (4, 16),
        "thing_tracks": (2, 6, 7),
        "thing_features": (2, 16),
        "word_tracks": (16, 6, 7),
    }
    made = Towers(CONFIG, params, things=THINGS).features(batch([[1]]))
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
    shared = Towers(CONFIG, params, things=THINGS, clips_per_device=1).features(asked)
    monkeypatch.setattr("hilight_jax.stages.frozen_towers.device_groups", lambda devices, whole: [[x] for x in devices])
    alone = Towers(CONFIG, params, things=THINGS, clips_per_device=1).features(asked)
    assert all(np.array_equal(shared[name], alone[name]) for name in FEATURES)


FRAMES = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
CHOSEN = np.array([0, 1], np.int32)
STORED = {"clip_tokens": np.ones((5, 2), np.float32), "frame_features": np.full((2, 3), 7, np.float32)}
BYTES = 4 * (10 + 6)


def test_what_was_put_comes_back_bit_for_bit_from_another_process_too(tmp_path):
    TowerCache(tmp_path, "towers", 1e9).put(FRAMES, CHOSEN, STORED)
    found = TowerCache(tmp_path, "towers", 1e9).get(FRAMES.copy(), CHOSEN.copy())
    assert {name: (x.dtype, x.tolist()) for name, x in found.items()} == {
        name: (x.dtype, x.tolist()) for name, x in STORED.items()
    }


def test_bfloat16_comes_back_as_bfloat16(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1e9)
    halves = {name: jnp.asarray(x, jnp.bfloat16) for name, x in STORED.items()}
    cache.put(FRAMES, CHOSEN, {name: np.asarray(x) for name, x in halves.items()})
    found = cache.get(FRAMES, CHOSEN)
    assert {x.dtype.name for x in found.values()} == {"bfloat16"}
    assert all(np.array_equal(found[name], halves[name]) for name in halves)


def test_one_other_pixel_other_key_frames_or_other_towers_find_nothing(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1e9)
    cache.put(FRAMES, CHOSEN, STORED)
    brighter = FRAMES.copy()
    brighter[0, 0, 0, 0] += 1
    assert cache.get(brighter, CHOSEN) is None
    assert cache.get(FRAMES, CHOSEN[::-1].copy()) is None
    assert TowerCache(tmp_path, "others", 1e9).get(FRAMES, CHOSEN) is None
    assert (cache.hits, cache.misses) == (0, 2)


def test_a_clip_of_another_shape_with_the_same_bytes_is_another_clip(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1e9)
    cache.put(FRAMES, CHOSEN, STORED)
    assert cache.get(FRAMES.reshape(2, 4, 3, 3), CHOSEN) is None


def test_a_full_cache_keeps_what_it_has_and_takes_no_more(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1.5 * BYTES)
    cache.put(FRAMES, CHOSEN, STORED)
    cache.put(FRAMES + 1, CHOSEN, STORED)
    assert cache.get(FRAMES, CHOSEN) is not None
    assert cache.get(FRAMES + 1, CHOSEN) is None


def test_the_limit_counts_what_earlier_runs_stored(tmp_path):
    TowerCache(tmp_path, "towers", 1e9).put(FRAMES, CHOSEN, STORED)
    cache = TowerCache(tmp_path, "towers", 1.5 * BYTES)
    cache.put(FRAMES + 1, CHOSEN, STORED)
    assert cache.get(FRAMES + 1, CHOSEN) is None


def test_a_torn_file_counts_as_absent_and_is_written_anew(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1e9)
    cache.put(FRAMES, CHOSEN, STORED)
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:40])
    assert cache.get(FRAMES, CHOSEN) is None
    cache.put(FRAMES, CHOSEN, STORED)
    assert cache.get(FRAMES, CHOSEN) is not None


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cache of tower outputs .* cannot be made: .*; set config.cache_gb=0"):
        TowerCache(tmp_path / "file", "towers", 1e9)


def test_two_threads_may_store_one_clip_at_a_time(tmp_path, monkeypatch):
    cache, both_wrote, save = TowerCache(tmp_path, "towers", 1e9), threading.Barrier(2, timeout=10), np.savez

    def save_and_wait(*args, **kwargs):
        save(*args, **kwargs)
        both_wrote.wait()

    monkeypatch.setattr(np, "savez", save_and_wait)
    with ThreadPoolExecutor(2) as threads:
        for stored in [threads.submit(cache.put, FRAMES, CHOSEN, STORED) for _ in range(2)]:
            stored.result()
    assert cache.get(FRAMES, CHOSEN) is not None
    assert not list(tmp_path.rglob("*.partial"))
