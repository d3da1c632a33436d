"""Tracks of things in a mosaic, from patches whose features are written out."""

import numpy as np

from hilight_jax.generation.following import follow, track
from hilight_jax.generation.mosaic import Mosaic
from hilight_jax.models.word_tracks import TRACK, measure_tracks

SHARPNESS, TILE = 20.0, 4
TIMES = np.arange(2) * 0.1
VECTORS = np.eye(2, dtype=np.float32)[:1]


def mosaic_of(cosines, extent=(80.0, 160.0)):
    """A mosaic whose patches have these cosines [F, rows, columns] with the first axis."""
    cosines = np.asarray(cosines, np.float32)
    patches = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=-1)
    return Mosaic(patches, np.ones(cosines.shape[1:], bool), extent)


def ball_at(*places, rows=8, columns=16):
    cosines = np.full((len(places), rows, columns), 0.1)
    for frame, (row, column) in enumerate(places):
        cosines[frame, row, column] = 0.7
    return cosines


def numbers_of(found, thing=0):
    return {name: found.tracks[thing, :, column] for column, name in enumerate(TRACK)}


def test_places_are_those_of_the_whole_picture():
    found = track(mosaic_of(ball_at((2, 4), (2, 6))), VECTORS, (80, 160), TIMES, TILE, SHARPNESS)
    numbers = numbers_of(found)
    np.testing.assert_allclose(numbers["x"], [4.5 / 8 - 1, 6.5 / 8 - 1], atol=1e-6)
    np.testing.assert_allclose(numbers["y"], [2.5 / 4 - 1] * 2, atol=1e-6)
    np.testing.assert_allclose(numbers["step_x"], [0, 2 / 8], atol=1e-6)
    np.testing.assert_allclose(numbers["strength"], 0.7, atol=1e-6)


def test_a_mosaic_that_reaches_over_the_picture_moves_no_place():
    mosaic = mosaic_of(ball_at((2, 4), (2, 4)), extent=(88.0, 176.0))
    numbers = numbers_of(track(mosaic, VECTORS, (80, 160), TIMES, TILE, SHARPNESS))
    np.testing.assert_allclose(numbers["x"], 2 * 4.5 * 11 / 160 - 1, atol=1e-6)
    np.testing.assert_allclose(numbers["y"], 2 * 2.5 * 11 / 80 - 1, atol=1e-6)


def test_mean_and_spread_are_those_of_a_tile_around_the_thing():
    cosines = ball_at((5, 9), (5, 9))
    cosines[:, 0, 0] = 0.65  # Far away, as strong: it would widen the spread of the whole map.
    numbers = numbers_of(track(mosaic_of(cosines), VECTORS, (80, 160), TIMES, TILE, SHARPNESS))
    tile = np.full((1, 1, TILE * TILE), 0.1, np.float32)
    tile[..., 2 * TILE + 2] = 0.7
    alone = np.asarray(measure_tracks(tile, TILE, SHARPNESS))[0, 0]
    np.testing.assert_allclose(numbers["mean"], alone[TRACK.index("mean")], rtol=1e-5)
    np.testing.assert_allclose(numbers["spread"], alone[TRACK.index("spread")], rtol=1e-5)


def test_a_mosaic_of_one_tile_has_the_tracks_of_the_frame():
    cosines = ball_at((1, 1), (1, 2), rows=TILE, columns=TILE)
    found = track(mosaic_of(cosines, (40.0, 40.0)), VECTORS, (40, 40), TIMES, TILE, SHARPNESS)
    whole = measure_tracks(cosines.reshape(1, 2, -1).astype(np.float32), TILE, SHARPNESS)
    # A place leaves out what lies far from the thing, and here nothing does but the plain ground.
    np.testing.assert_allclose(found.tracks, whole, atol=1e-6)
    np.testing.assert_allclose(found.maps, cosines.reshape(1, 2, -1), atol=1e-6)


def test_the_feature_is_that_of_the_patch_where_the_thing_is_strongest():
    cosines = ball_at((1, 1), (1, 2))
    cosines[1, 1, 2] = 0.8
    found = track(mosaic_of(cosines), VECTORS, (80, 160), TIMES, TILE, SHARPNESS)
    np.testing.assert_allclose(found.features, [[0.8, 0.6]], atol=1e-6)


def test_maps_on_the_grid_of_a_tile_hold_the_best_of_each_part():
    found = track(mosaic_of(ball_at((7, 15), (0, 0))), VECTORS, (80, 160), TIMES, TILE, SHARPNESS)
    maps = found.maps.reshape(2, TILE, TILE)
    np.testing.assert_allclose([maps[0, 3, 3], maps[1, 0, 0]], 0.7, atol=1e-6)
    assert np.isclose(maps, 0.7).sum() == 2


def test_frames_in_any_order_are_followed_in_that_of_time():
    maps = np.random.default_rng(0).random((3, 4, 6, 6)).astype(np.float32)
    times = np.array([0.3, 0.0, 0.2, 0.1])
    forward, mixed = follow(maps[:, np.argsort(times)], np.sort(times)), follow(maps, times)
    np.testing.assert_array_equal(mixed.patches[:, np.argsort(times)], forward.patches)
