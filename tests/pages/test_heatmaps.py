"""Heat on the right patch, the ring around the right place, one picture per frame."""

import numpy as np
from PIL import Image

from hilight_jax.pages import heatmaps

FRAMES = np.full((3, 64, 64, 3), 90, np.uint8)


def one_hot(row, column, frames=3, rows=8, columns=8):
    maps = np.zeros((frames, rows, columns))
    maps[:, row, column] = 1.0
    return maps


def test_small_frames_are_drawn_large_and_large_ones_stay_readable():
    assert heatmaps.drawing_size(64, 64) == (224, 224)
    assert heatmaps.drawing_size(360, 640) == (270, 480)
    assert heatmaps.drawing_size(224, 224) == (224, 224)
    assert heatmaps.drawing_size(100, 1000) == (224, 2240)


def test_colours_grow_lighter_from_end_to_end():
    lightness = heatmaps.colours(np.linspace(0, 1, 50)) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()


def test_a_map_is_drawn_from_its_median_to_its_maximum():
    maps = np.arange(9.0).reshape(1, 3, 3)
    np.testing.assert_allclose(heatmaps.scaled(maps)[0].ravel(), [0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1])
    assert not heatmaps.scaled(np.ones((1, 3, 3))).any()


def test_heat_lies_on_its_patch_and_the_rest_stays_as_filmed():
    painted = heatmaps.overlay(FRAMES, one_hot(1, 6)).astype(int)
    assert painted.shape == (3, 224, 224, 3)
    difference = np.abs(painted - 90).sum(-1)[0]
    row, column = np.unravel_index(difference.argmax(), difference.shape)
    assert (row // 28, column // 28) == (1, 6)
    assert not difference[100:].any() and not difference[:, :100].any()


def test_a_flat_map_leaves_the_frames_as_they_are():
    assert (heatmaps.overlay(FRAMES, np.ones((3, 8, 8))) == 90).all()


def test_the_ring_is_drawn_around_the_place_only_where_it_is_seen():
    frames = np.zeros((2, 100, 100, 3), np.uint8)
    ringed = heatmaps.ring(frames, np.array([[30.0, 60.0]] * 2), np.array([10.0] * 2), [True, False])
    assert not ringed[1].any()
    rows, columns = np.nonzero(ringed[0].sum(-1) > 300)
    distance = np.hypot(columns + 0.5 - 30, rows + 0.5 - 60)
    assert 10 < distance.min() and distance.max() < 16


def test_a_gif_has_one_picture_per_frame(tmp_path):
    frames = heatmaps.label(heatmaps.overlay(FRAMES, one_hot(2, 2)), "the red 3-ball", ["0.0 s", "0.5 s", "1.0 s"])
    heatmaps.save_gif(tmp_path / "a.gif", frames, seconds=0.5)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 3 and gif.info["loop"] == 0 and gif.info["duration"] == 500
        assert gif.size == (224, 224 + 52)


def test_a_strip_shows_all_frames_side_by_side(tmp_path):
    heatmaps.save_strip(tmp_path / "a.jpg", FRAMES, height=50)
    with Image.open(tmp_path / "a.jpg") as strip:
        assert strip.size == (3 * 50 + 2 * 2, 50)


def test_a_long_word_is_shortened_to_the_picture():
    frames = np.zeros((1, 40, 60, 3), np.uint8)
    assert heatmaps.label(frames, "a very long passage of a caption", [""]).shape == (1, 92, 60, 3)
