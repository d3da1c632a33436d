import numpy as np
import pytest

from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.rendering.camera import (
    RAILS,
    TRAIN_CAMERAS,
    TRAIN_EDGE_CAMERAS,
    TRAIN_REAL_CAMERAS,
    UNSEEN_CAMERAS,
    UNSEEN_EDGE_CAMERAS,
    VIEWS,
    Camera,
    sample,
)
from hilight_jax.core.errors import ConfigError

TABLE = Table()
# Two metres above the origin, looking straight down, +y up in the picture; 90 degrees over 100 pixels: focal length 50.
ABOVE = Camera((0, 0, 2), (0, 0, 0), (0, 1, 0), 90, 100, 80)


def rays_of(camera, x, y):
    """Unit directions [..., 3] in the world through the pixel positions x and y [...]."""
    right, down = np.broadcast_arrays(*camera.slopes(x, y))
    rays = np.stack([right, down, np.ones_like(right)], -1) @ camera.axes
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("point", "pixel", "depth"),
    [
        ((0, 0, 0), (50, 40), 2),
        ((1, 0, 0), (75, 40), 2),
        ((0, 1, 0), (50, 15), 2),
        ((-1, -0.5, 1), (0, 65), 1),
    ],
)
def test_points_fall_where_a_hand_computes_them(point, pixel, depth):
    pixels, depths = ABOVE.project(np.array(point))
    np.testing.assert_allclose(pixels, pixel, atol=1e-12)
    np.testing.assert_allclose(depths, depth, atol=1e-12)


def test_a_point_behind_the_camera_has_no_pixel():
    pixels, depth = ABOVE.project(np.array([[0, 0, 3.0], [0, 0, 1.0]]))
    assert np.isnan(pixels[0]).all() and depth[0] == -1
    assert np.isfinite(pixels[1]).all()


def test_rays_are_unit_vectors_through_the_pixels_that_their_points_project_to():
    camera = Camera((0.3, -1, 1.2), (0.5, 0.9, 0), (0.1, 0, 1), 50, 64, 48)
    x, y = np.meshgrid([0.5, 20, 63.5], [0.5, 30, 47.5])
    rays = rays_of(camera, x, y)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1, atol=1e-6)
    pixels, _ = camera.project(np.array(camera.eye) + 3 * rays)
    np.testing.assert_allclose(pixels, np.stack([x, y], -1), atol=1e-4)


def test_up_parallel_to_the_view_is_refused():
    with pytest.raises(ValueError, match="parallel to its view"):
        _ = Camera((0, 0, 1), (0, 0, 0), (0, 0, 1), 40, 64, 64).axes


def test_sphere_bounds_touch_the_sphere():
    camera = Camera((0, 0, 0), (0, 0, 1), (0, 1, 0), 90, 100, 100)
    center = np.array([0.4, 0.2, 1.0])
    left, top, right, bottom = camera.sphere_bounds(center, 0.1)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    edges = [(left, None), (right, None), (None, top), (None, bottom)]
    for x, y in edges:
        # The rays through one picture line span a plane with the eye; the nearest it comes to the centre is the radius.
        across = rays_of(camera, x, 0.0) if y is None else rays_of(camera, 0.0, y)
        along = rays_of(camera, x, 100.0) if y is None else rays_of(camera, 100.0, y)
        normal = np.cross(across, along)
        assert abs(normal @ center) / np.linalg.norm(normal) == pytest.approx(0.1, abs=1e-5)
    assert middle_x != pytest.approx(camera.project(center)[0][0], abs=0.1)  # an ellipse, off the centre's own pixel
    assert middle_y != pytest.approx(camera.project(center)[0][1], abs=0.1)


def test_a_sphere_at_the_eye_has_no_bounds():
    assert ABOVE.sphere_bounds(np.array([0, 0, 1.97]), BALL_RADIUS) is None
    assert ABOVE.sphere_bounds(np.array([0, 0, 3.0]), BALL_RADIUS) is None


@pytest.mark.parametrize(("width", "height"), [(64, 64), (640, 360), (90, 160)])
@pytest.mark.parametrize("name", VIEWS)
def test_every_camera_keeps_its_focus_in_the_picture(name, width, height):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        focus = (rng.uniform(0, TABLE.width), rng.uniform(0, TABLE.length))
        camera = sample(name, rng, width, height, TABLE, focus)
        (x, y), depth = camera.project(np.array([*focus, BALL_RADIUS]))
        assert 0 < x < width and 0 < y < height and depth > 0.2
        assert camera.eye[2] > 0.15


@pytest.mark.parametrize("name", [name for name, view in VIEWS.items() if view.ball_radius is None])
def test_cameras_of_the_whole_table_show_all_of_it_and_no_smaller_than_needed(name):
    corners = [(x, y, 0.04) for x in (-RAILS, TABLE.width + RAILS) for y in (-RAILS, TABLE.length + RAILS)]
    for seed in range(20):
        pixels, _ = sample(name, np.random.default_rng(seed), 224, 224, TABLE).project(np.array(corners))
        assert (pixels > 0).all() and (pixels < 224).all()
        assert max(np.ptp(pixels[:, 0]), np.ptp(pixels[:, 1])) == pytest.approx(0.97 * 224, rel=1e-6)


@pytest.mark.parametrize("name", ["close", "close_low"])
def test_balls_of_a_close_up_have_a_radius_of_at_least_four_pixels_everywhere(name):
    x, y = np.meshgrid([0, 32, 64.0], [0, 32, 64.0])
    for seed in range(100):
        camera = sample(name, np.random.default_rng(seed), 64, 64, TABLE)
        rays = rays_of(camera, x, y)
        reach = (BALL_RADIUS - camera.eye[2]) / rays[..., 2]
        _, depth = camera.project(np.array(camera.eye) + reach[..., None] * rays)
        assert (BALL_RADIUS * camera.focal / depth).min() >= 4
        assert 4.7 <= BALL_RADIUS * camera.focal / depth[1, 1] <= 5.8


def test_a_rolled_camera_is_always_rolled():
    rng = np.random.default_rng(3)
    rolls = []
    for _ in range(40):
        camera = sample("rolled", rng, 80, 80, TABLE, (0.4, 0.5))
        level = np.cross(camera.axes[2], (0, 0, 1))
        level /= np.linalg.norm(level)
        rolls.append(
            np.degrees(np.arctan2(np.dot(np.cross(level, camera.axes[0]), camera.axes[2]), level @ camera.axes[0]))
        )
    assert 12 <= np.abs(rolls).min() and np.abs(rolls).max() <= 22
    assert min(rolls) < 0 < max(rolls)


def test_cameras_never_seen_in_training_are_other_cameras():
    train, unseen = {*TRAIN_CAMERAS, *TRAIN_REAL_CAMERAS}, {*UNSEEN_CAMERAS, *UNSEEN_EDGE_CAMERAS}
    assert not train & unseen
    assert train | unseen == set(VIEWS)
    assert VIEWS["close_low"].elevation[1] < VIEWS["close"].elevation[0]
    assert VIEWS["close_low"].field_of_view[1] < VIEWS["close"].field_of_view[0]
    assert VIEWS["distant"].elevation[1] < min(VIEWS[name].elevation[0] for name in TRAIN_EDGE_CAMERAS)
    assert VIEWS["distant"].field_of_view[1] < min(VIEWS[name].field_of_view[0] for name in TRAIN_EDGE_CAMERAS)
    assert VIEWS["rolled"].least_roll > max(VIEWS[name].roll for name in TRAIN_EDGE_CAMERAS)


def test_equal_seeds_draw_equal_cameras():
    cameras = [sample("corner", np.random.default_rng(seed), 64, 64, TABLE) for seed in (5, 5, 6)]
    assert cameras[0] == cameras[1] != cameras[2]


def test_an_unknown_camera_is_named_with_its_nearest():
    with pytest.raises(ConfigError, match="Unknown camera 'clsoe'; the cameras are close, .* Did you mean 'close'"):
        sample("clsoe", np.random.default_rng(0), 64, 64, TABLE)
