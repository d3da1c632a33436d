"""Maps at a video's own resolution, by a finder whose patches are the colours of the picture."""

import numpy as np
import pytest

from hilight_jax.generation.locating import locate
from hilight_jax.generation.mosaic import tiling
from hilight_jax.generation.video_clip import VideoClip
from hilight_jax.generation.zoom import whole_maps, zoomed_maps
from tests.generation.colours import SIDE, ColourFinder

RED, BLUE = (255, 0, 0), (0, 0, 255)
GREY = np.array([128, 128, 128])
VECTORS = np.array([[1, -1, -1]], np.float32) / 3**0.5


def clip_of(balls, size=(96, 160), radius=2):
    """A clip of pictures with a stripe on one side and discs at (x, y), and its frames in the model's square."""
    whole = np.empty((len(balls), *size, 3), np.uint8)
    whole[:] = GREY
    whole[:, :, -10:] = (0, 90, 0)
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    for picture, placed in zip(whole, balls, strict=True):
        for (x, y), colour in placed.items():
            picture[np.hypot(columns - x, rows - y) <= radius] = colour
    small = whole[:, :: size[0] // SIDE, :: size[1] // SIDE][:, :SIDE, :SIDE]
    numbers = np.arange(len(balls))
    return VideoClip("a.mp4", small, small, numbers, len(balls), numbers / 10, size, whole)


def look(finder, clip, zoom):
    return locate(finder, clip._replace(zoom=zoom), ["the red ball"])


def test_tiles_cover_the_picture_and_each_reaches_half_over_the_next():
    finder = ColourFinder(num_frames=1)
    tiles = tiling((96, 160), 3.0, finder)
    assert tiles.size == (3 * SIDE, 5 * SIDE) and (tiles.rows, tiles.columns) == (12, 20)
    assert sorted({row for row, _ in tiles.starts.tolist()}) == [0, 2, 4, 6, 8]
    covered = np.zeros((tiles.rows, tiles.columns), int)
    for row, column in tiles.starts:
        covered[row : row + 4, column : column + 4] += 1
    assert covered.min() == 1 and covered[4:8, 4:8].min() == 4


@pytest.mark.parametrize("size", [(96, 160), (97, 161), (16, 40), (100, 33)])
def test_the_map_lies_where_the_picture_is(size):
    place = (0.61 * size[1], 0.37 * size[0])
    clip = clip_of([{place: RED}], size=size, radius=max(2, min(size) // 20))
    mapped = zoomed_maps(ColourFinder(num_frames=1), clip, VECTORS, zoom=2.0)
    row, column = np.unravel_index(mapped.maps[0, 0].argmax(), mapped.maps.shape[2:])
    height, width = mapped.extent
    patch = height / mapped.maps.shape[2], width / mapped.maps.shape[3]
    assert abs((row + 0.5) * patch[0] - place[1]) <= patch[0] and abs((column + 0.5) * patch[1] - place[0]) <= patch[1]


def test_a_ball_that_the_square_frame_loses_is_found():
    clip = clip_of([{(53, 41): RED}, {(57, 43): RED}])
    finder = ColourFinder(num_frames=2)
    (lost,) = locate(finder, clip, ["the red ball"])
    assert not lost.seen.any()
    for zoom in (6.0, "auto"):
        (found,) = look(finder, clip, zoom)
        assert np.hypot(found.x - [53, 57], found.y - [41, 43]).max() <= found.reach
        assert found.strength.min() > lost.strength.max() and found.reach < lost.reach / 2


def test_a_large_ball_needs_no_zoom():
    clip = clip_of([{(53, 41): RED}], radius=24)
    finder = ColourFinder(num_frames=1)
    (plain,), (auto,) = (look(finder, clip, zoom) for zoom in ("off", "auto"))
    assert plain.seen.all() and auto.seen.all() and auto.zoom in ("off", 1.0)


def patch_of(mapped, frame, rows=12, columns=20):
    assert mapped.maps.shape[2:] == (rows, columns)
    return tuple(int(at) for at in np.unravel_index(mapped.maps[0, frame].argmax(), mapped.maps.shape[2:]))


def test_plain_tiles_are_not_encoded_and_count_as_the_lowest():
    finder = ColourFinder(num_frames=1)
    mapped = zoomed_maps(finder, clip_of([{(20, 20): RED}]), VECTORS, zoom=3.0)
    tiles = tiling((96, 160), 3.0, finder)
    encoded = len({clip.tobytes() for clip in finder.seen})
    assert 0 < encoded < len(tiles.starts) / 2
    assert patch_of(mapped, 0) == (2, 2)
    assert mapped.maps.min() == mapped.maps[0, 0, 6, 10], "the middle of the cloth"


@pytest.mark.parametrize("radius", [2, 3, 5])
def test_a_lone_small_ball_on_plain_cloth_is_encoded(radius):
    clip = clip_of([{(86, 46): (230, 40, 40)}], radius=radius)
    assert patch_of(zoomed_maps(ColourFinder(num_frames=1), clip, VECTORS, zoom=6.0), 0, 24, 40) == (11, 21)


def test_a_plain_picture_has_a_map():
    clip = clip_of([{}])
    clip = clip._replace(whole=np.full_like(clip.whole, 128))
    mapped = zoomed_maps(ColourFinder(num_frames=1), clip, VECTORS, zoom=3.0)
    assert mapped.maps.shape == (1, 1, 12, 20) and np.isfinite(mapped.maps).all()


def test_any_number_of_frames_is_mapped_as_each_group_of_them_alone():
    balls = [{(12 + 16 * k, 44): RED} for k in range(5)]
    finder, clip = ColourFinder(num_frames=2), clip_of(balls)
    mapped = zoomed_maps(finder, clip, VECTORS, zoom=3.0)
    for k in range(5):
        assert patch_of(mapped, k) == (5, 1 + 2 * k)
    for group in ([0, 3], [1, 4], [2, 2]):  # Every third frame; the last one fills its group up.
        of_group = clip_of([balls[k] for k in group])
        alone = zoomed_maps(finder, of_group, VECTORS, zoom=3.0)
        np.testing.assert_allclose(mapped.maps[:, group], alone.maps, atol=1e-6)


def test_a_lure_in_one_frame_is_left_out_of_the_path():
    balls = [{(40, 40): (250, 20, 20)}, {(44, 40): (250, 20, 20), (120, 80): RED}, {(48, 40): (250, 20, 20)}]
    (found,) = look(ColourFinder(num_frames=3), clip_of(balls), 6.0)
    assert np.abs(found.x - [40, 44, 48]).max() <= found.reach


def test_whole_frames_cover_the_whole_video():
    mapped = whole_maps(ColourFinder(num_frames=1), clip_of([{}]), VECTORS)
    assert mapped.extent == (96, 160) and mapped.maps.shape == (1, 1, 4, 4)


def test_a_clip_without_its_own_pictures_cannot_be_zoomed():
    with pytest.raises(ValueError, match="read it with a zoom"):
        zoomed_maps(ColourFinder(num_frames=1), clip_of([{}])._replace(whole=None), VECTORS, 2.0)
