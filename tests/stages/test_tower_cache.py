import threading
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.stages.tower_cache import TowerCache

FRAMES = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
KEYS = np.array([0, 1], np.int32)
FEATURES = {"clip_tokens": np.ones((5, 2), np.float32), "frame_features": np.full((2, 3), 7, np.float32)}
BYTES = 4 * (10 + 6)


def test_what_was_put_comes_back_bit_for_bit_from_another_process_too(tmp_path):
    TowerCache(tmp_path, "towers", 1e9).put(FRAMES, KEYS, FEATURES)
    found = TowerCache(tmp_path, "towers", 1e9).get(FRAMES.copy(), KEYS.copy())
    assert {name: (x.dtype, x.tolist()) for name, x in found.items()} == {
        name: (x.dtype, x.tolist()) for name, x in FEATURES.items()
    }


def test_bfloat16_comes_back_as_bfloat16(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1e9)
    halves = {name: jnp.asarray(x, jnp.bfloat16) for name, x in FEATURES.items()}
    cache.put(FRAMES, KEYS, {name: np.asarray(x) for name, x in halves.items()})
    found = cache.get(FRAMES, KEYS)
    assert {x.dtype.name for x in found.values()} == {"bfloat16"}
    assert all(np.array_equal(found[name], halves[name]) for name in halves)


def test_one_other_pixel_other_key_frames_or_other_towers_find_nothing(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1e9)
    cache.put(FRAMES, KEYS, FEATURES)
    brighter = FRAMES.copy()
    brighter[0, 0, 0, 0] += 1
    assert cache.get(brighter, KEYS) is None
    assert cache.get(FRAMES, KEYS[::-1].copy()) is None
    assert TowerCache(tmp_path, "others", 1e9).get(FRAMES, KEYS) is None
    assert (cache.hits, cache.misses) == (0, 2)


def test_a_clip_of_another_shape_with_the_same_bytes_is_another_clip(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1e9)
    cache.put(FRAMES, KEYS, FEATURES)
    assert cache.get(FRAMES.reshape(2, 4, 3, 3), KEYS) is None


def test_a_full_cache_keeps_what_it_has_and_takes_no_more(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1.5 * BYTES)
    cache.put(FRAMES, KEYS, FEATURES)
    cache.put(FRAMES + 1, KEYS, FEATURES)
    assert cache.get(FRAMES, KEYS) is not None
    assert cache.get(FRAMES + 1, KEYS) is None


def test_the_limit_counts_what_earlier_runs_stored(tmp_path):
    TowerCache(tmp_path, "towers", 1e9).put(FRAMES, KEYS, FEATURES)
    cache = TowerCache(tmp_path, "towers", 1.5 * BYTES)
    cache.put(FRAMES + 1, KEYS, FEATURES)
    assert cache.get(FRAMES + 1, KEYS) is None


def test_a_torn_file_counts_as_absent_and_is_written_anew(tmp_path):
    cache = TowerCache(tmp_path, "towers", 1e9)
    cache.put(FRAMES, KEYS, FEATURES)
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:40])
    assert cache.get(FRAMES, KEYS) is None
    cache.put(FRAMES, KEYS, FEATURES)
    assert cache.get(FRAMES, KEYS) is not None


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
        for stored in [threads.submit(cache.put, FRAMES, KEYS, FEATURES) for _ in range(2)]:
            stored.result()
    assert cache.get(FRAMES, KEYS) is not None
    assert not list(tmp_path.rglob("*.partial"))
