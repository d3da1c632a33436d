import itertools

import numpy as np
import pytest

from hilight_jax.billiards.physics.table import BALL_RADIUS, Table
from hilight_jax.billiards.rendering import looks, spheres, surfaces, textures
from hilight_jax.billiards.rendering.camera import VIEWS, Camera, sample
from hilight_jax.billiards.rendering.layers import Banner
from hilight_jax.billiards.rendering.limbs import Limb
from hilight_jax.billiards.rendering.scene import Moment, Scene
from hilight_jax.billiards.rendering.surfaces import Surface
from hilight_jax.core.errors import ConfigError

TABLE = Table()
SPOT = np.array([0.25, 0.75, BALL_RADIUS])  # under no lamp, so that no reflection lies on top of the ball
UPRIGHT = np.eye(3)
# Turns the ball's x axis, where its number is, to the world's z axis.
NUMBER_UP = np.array([[0, 0, -1.0], [0, 1, 0], [1, 0, 0]])


def above(x=SPOT[0], y=SPOT[1], size=64):
    """A camera 0.6 m above a point of the bed, looking straight down, the world's axes right and up in the picture."""
    return Camera((x, y, 0.6), (x, y, 0), (0, 1, 0), 40, size, size)


class Sharp(Scene):
    """A scene that also draws the frame of a single moment."""

    def frame(self, balls, stick=None):
        return self.blurred([(balls, stick)])


def scene(camera=None, noise=0.0, **arguments):
    return Sharp(camera or above(), TABLE, noise=noise, **arguments)


@pytest.fixture(scope="module")
def plain():
    return scene()


def test_frames_are_bytes_and_fractions_are_floats(plain):
    frame, visible = plain.frame([("cue", SPOT, UPRIGHT), ("3", SPOT + (0.1, 0, 0), UPRIGHT)])
    assert frame.shape == (64, 64, 3) and frame.dtype == np.uint8 and frame.flags.c_contiguous
    assert set(visible) == {"cue", "3"} and all(type(fraction) is float for fraction in visible.values())


def test_a_picture_need_not_be_square():
    frame, _ = scene(sample("side", np.random.default_rng(0), 80, 45, TABLE)).frame([])
    assert frame.shape == (45, 80, 3)


@pytest.mark.parametrize("ball", spheres.BALL_IDS[:9])
def test_the_middle_of_a_solid_has_its_color(plain, ball):
    turned = np.linalg.qr(np.array([[1, 1, 1], [1, -1, 0], [1, 0, 0.0]]))[0]  # no spot of the cue ball on top
    frame, _ = plain.frame([(ball, SPOT, turned if ball == "cue" else UPRIGHT)])
    middle = frame[30:34, 30:34].reshape(-1, 3).mean(0)
    distances = {other: np.linalg.norm(middle - color) for other, color in spheres.PALETTE.items()}
    assert min(distances, key=distances.get) == ball
    assert distances[ball] < 45


def test_palette_colors_are_told_apart():
    for (a, first), (b, second) in itertools.combinations(spheres.PALETTE.items(), 2):
        assert np.linalg.norm(np.subtract(first, second)) >= 95, f"{a} and {b}"


@pytest.mark.parametrize("lights", looks.LIGHTS)
@pytest.mark.parametrize("cloth", looks.CLOTHS)
def test_three_and_seven_are_told_apart_in_any_light(lights, cloth):
    table = scene(above(size=40), lights=lights, cloth=cloth)  # a radius of 3 pixels
    red, brown = (table.frame([(ball, SPOT, UPRIGHT)])[0][18:22, 18:22].reshape(-1, 3).mean(0) for ball in "37")
    assert np.linalg.norm(red - brown) > 60


@pytest.mark.parametrize("x", [0.0, 0.12])
def test_a_disc_has_the_radius_of_the_pinhole(plain, x):
    """Black on a light cloth, without the lamps' shadows: pixels darker than both are the ball's."""
    center = SPOT + (x, 0, 0)
    left, top, right, bottom = plain.camera.sphere_bounds(center, BALL_RADIUS)
    (_, _), depth = plain.camera.project(center)
    expected = BALL_RADIUS * plain.camera.focal / depth
    assert (right - left) / 2 == pytest.approx(expected, abs=0.5)
    assert (bottom - top) / 2 == pytest.approx(expected, abs=0.5)
    frame, _ = scene(cloth="blue").frame([("1", center, UPRIGHT)])
    yellow = (frame[..., 0].astype(int) > frame[..., 2]).sum()
    assert np.sqrt(yellow / np.pi) == pytest.approx(expected, abs=0.5)


def test_a_free_ball_is_wholly_visible(plain):
    assert plain.frame([("5", SPOT + (0.1, 0.05, 0), UPRIGHT)])[1] == {"5": 1.0}


def test_a_ball_outside_the_picture_or_behind_the_camera_is_not_visible(plain):
    _, visible = plain.frame([("5", SPOT + (0.6, 0, 0), UPRIGHT), ("6", SPOT + (0, 0, 0.8), UPRIGHT)])
    assert visible == {"5": 0.0, "6": 0.0}


def test_half_a_ball_on_the_border_is_half_visible(plain):
    (edge, _), _ = plain.camera.project(SPOT + (0.1, 0, 0))
    to_border = 0.1 * (plain.camera.width - plain.camera.width / 2) / (edge - plain.camera.width / 2)
    _, visible = plain.frame([("5", SPOT + (to_border, 0, 0), UPRIGHT)])
    assert visible["5"] == pytest.approx(0.5, abs=0.06)


def test_the_nearer_ball_hides_the_farther():
    eye, target = np.array([0.2, 0.2, BALL_RADIUS + 0.05]), np.array([0.2, 1.2, BALL_RADIUS])
    low = scene(Camera(tuple(eye), tuple(target), (0, 0, 1), 40, 64, 64))
    on_line = [eye + share * (target - eye) for share in (0.5, 0.7)]
    for order in ((0, 1), (1, 0)):
        states = [("3", on_line[0], UPRIGHT), ("2", on_line[1], UPRIGHT)]
        frame, visible = low.frame([states[k] for k in order])
        assert visible == {"3": pytest.approx(1.0), "2": pytest.approx(0.0, abs=1e-6)}
        red, _, blue = frame[31:33, 31:33].reshape(-1, 3).mean(0)
        assert red > 2 * blue


def test_two_discs_side_by_side_share_no_pixels():
    _, visible = scene().frame([("3", SPOT, UPRIGHT), ("2", SPOT + (2 * BALL_RADIUS, 0, 0), UPRIGHT)])
    assert min(visible.values()) > 0.97


def test_a_rail_hides_the_ball_behind_it():
    ball = np.array([BALL_RADIUS, 0.6, BALL_RADIUS])
    low = scene(Camera((-0.6, 0.6, 0.15), (0.05, 0.6, 0.03), (0, 0, 1), 40, 64, 64))
    _, visible = low.frame([("3", ball, UPRIGHT), ("5", ball + (0.5, 0.1, 0), UPRIGHT)])
    assert 0.2 < visible["3"] < 0.9
    assert visible["5"] == 1.0


def test_the_stick_hides_part_of_a_ball_and_is_itself_hidden(plain):
    over = (SPOT + (-0.2, 0, 0.05), SPOT + (1.2, 0, 0.05))
    under = (SPOT + (-0.2, 0, -0.02), SPOT + (1.2, 0, -0.02))
    assert 0.4 < plain.frame([("3", SPOT, UPRIGHT)], over)[1]["3"] < 0.9
    assert plain.frame([("3", SPOT, UPRIGHT)], under)[1]["3"] > 0.95
    bare, with_stick = (plain.frame([], stick)[0].astype(int) for stick in (None, over))
    assert np.abs(bare - with_stick)[30:34].mean() > 20


def test_a_stick_that_reaches_behind_the_camera_is_cut_there():
    camera = Camera((0.5, -0.4, 0.3), (0.5, 0.5, 0), (0, 0, 1), 40, 64, 64)
    bare, cut = (scene(camera).frame([], stick)[0] for stick in (None, ((0.5, 0.4, 0.03), (0.5, -1.0, 0.2))))
    behind = scene(camera).frame([], ((0.5, -0.8, 0.1), (0.5, -2, 0.2)))[0]
    assert (bare != cut).any() and (bare == behind).all()


def test_blur_of_a_still_scene_is_its_frame():
    state = ([("3", SPOT, UPRIGHT), ("9", SPOT + (0.1, 0, 0), UPRIGHT)], (SPOT + (0, 0.1, 0.02), SPOT + (0, 1.5, 0.2)))
    frame, visible = scene(noise=3.0).frame(*state)
    for count in (2, 5):
        blurred, fractions = scene(noise=3.0).blurred([state] * count)
        assert np.abs(frame.astype(int) - blurred).max() <= (0 if count == 2 else 1)
        assert fractions == pytest.approx(visible)


def test_a_moving_ball_is_smeared(plain):
    steps = [SPOT + (step, 0, 0) for step in (-0.05, 0.0, 0.05)]
    blurred, visible = plain.blurred([([("1", position, UPRIGHT)], None) for position in steps])
    sharp, _ = plain.frame([("1", steps[1], UPRIGHT)])
    empty, _ = plain.frame([])
    changed = [np.abs(frame.astype(int) - empty).max((0, 2)) > 25 for frame in (sharp, blurred)]
    assert changed[1].sum() > changed[0].sum() + 8
    assert visible == {"1": 1.0}


def test_a_ball_that_drops_during_the_exposure_is_seen_for_part_of_it(plain):
    _, visible = plain.blurred([([("1", SPOT, UPRIGHT)], None), ([], None)])
    assert visible == {"1": 0.5}
    with pytest.raises(ValueError, match="at least one state"):
        plain.blurred([])


def test_equal_seeds_draw_equal_frames():
    first, second, other = (scene(noise=4.0, seed=seed) for seed in (1, 1, 2))
    state = [("3", SPOT, UPRIGHT)]
    for _ in range(2):
        frame = first.frame(state)[0]
        assert (frame == second.frame(state)[0]).all()
        assert (frame != other.frame(state)[0]).any()


def test_noise_has_the_deviation_asked_for_and_changes_from_frame_to_frame():
    noisy = scene(noise=4.0)
    difference = noisy.frame([])[0].astype(float) - noisy.frame([])[0]
    assert difference.std() == pytest.approx(4 * np.sqrt(2), rel=0.05)


def test_stripes_are_white_above_and_below_their_color():
    normals = np.array([[0, 0, 1], [0, 0, -1], [0, 1, 0], [0.6, 0.8, 0]], np.float32).T
    solid, stripe = spheres.paint("3", normals), spheres.paint("11", normals)
    np.testing.assert_array_equal(solid.T, [spheres.PALETTE["3"]] * 4)
    np.testing.assert_array_equal(stripe.T, [spheres.WHITE] * 2 + [spheres.PALETTE["3"]] * 2)


def test_numbers_read_upright_from_both_ends_of_the_axis():
    """A 4 has its stroke right of the middle and its crossbar low; its upper left is empty."""
    for side in (1, -1):
        x = side * np.float32(0.97)
        stroke = spheres.paint("4", np.array([[x], [side * 0.1], [-0.14]], np.float32))
        corner = spheres.paint("4", np.array([[x], [side * -0.15], [0.18]], np.float32))
        np.testing.assert_array_equal(stroke[:, 0], spheres.INK)
        np.testing.assert_array_equal(corner[:, 0], spheres.WHITE)


def test_a_number_that_looks_up_is_seen_from_above(plain):
    frame, _ = plain.frame([("3", SPOT, NUMBER_UP)])
    spot = frame[29:35, 29:35].reshape(-1, 3).astype(int)
    assert (spot.min(1) > 120).any() and not (frame[..., 0] - frame[..., 1].astype(int) > 60)[31:33, 31:33].all()


def test_the_cloth_is_darkest_under_a_ball(plain):
    low = scene(Camera((0.25, 0.1, 0.3), (0.25, 0.75, 0), (0, 0, 1), 30, 64, 64))
    position = np.array([0.25, 0.75, BALL_RADIUS])
    (x, y), _ = low.camera.project(position - (0, 0, BALL_RADIUS))
    row, column = int(y) + 1, int(x)
    bare, shaded = (low.frame(state)[0].astype(float) for state in ([], [("1", position, UPRIGHT)]))
    assert shaded[row, column].sum() < 0.8 * bare[row, column].sum()
    np.testing.assert_array_equal(shaded[:, :8], bare[:, :8])


def test_rays_meet_the_surfaces_that_a_hand_finds():
    eye = np.array([0.5, 1.0, 1.0])
    h = surfaces.CUSHION_HEIGHT
    targets = {
        (0.5, 1.2, 0): Surface.BED,
        (0.0, 0.6, h / 2): Surface.FACE,
        (-0.03, 0.6, h): Surface.CUSHION,
        (-0.1, 0.6, h): Surface.RAIL,
        (-0.02, -0.02, 0): Surface.POCKET,
        (-0.0685, TABLE.length / 2, 0): Surface.POCKET,
        (-1.5, 1.0, surfaces.FLOOR_HEIGHT): Surface.FLOOR,
        (0.5, 4.0, 2.0): Surface.ROOM,
    }
    directions = (np.array(list(targets)) - eye).T.astype(np.float32)
    hits = surfaces.trace(eye, directions, TABLE)
    assert [Surface(kind) for kind in hits.kind] == list(targets.values())
    np.testing.assert_allclose(hits.point[:, :7].T, list(targets)[:7], atol=1e-4)
    outside = surfaces.trace(np.array([-2.0, 1.0, 0.5]), np.array([[2 - 0.16], [0], [-0.55]], np.float32), TABLE)
    assert outside.kind[0] == Surface.APRON
    np.testing.assert_allclose(outside.point[:, 0], (-0.16, 1.0, -0.05), atol=1e-5)


def test_the_side_face_of_the_far_cushion_is_seen_and_darker_than_its_top():
    camera = Camera((0.5, 0.9, 0.25), (0.5, TABLE.length, 0.03), (0, 0, 1), 20, 64, 64)
    frame, _ = scene(camera, lights="hall").frame([])
    (_, face), _ = camera.project(np.array([0.5, TABLE.length, 0.5 * surfaces.CUSHION_HEIGHT]))
    (_, top), _ = camera.project(np.array([0.5, TABLE.length + 0.02, surfaces.CUSHION_HEIGHT]))
    assert frame[int(face), 32].mean() < 0.8 * frame[int(top), 32].mean()


@pytest.mark.parametrize("name", VIEWS)
def test_every_camera_draws_every_look(name):
    rng = np.random.default_rng(3)
    camera = sample(name, rng, 48, 48, TABLE, tuple(SPOT[:2]))
    for cloth, wood, floor, lights in zip(
        looks.CLOTHS, itertools.cycle(looks.WOODS), itertools.cycle(looks.FLOORS), itertools.cycle(looks.LIGHTS)
    ):
        table = scene(camera, cloth=cloth, wood=wood, floor=floor, lights=lights)
        frame, visible = table.frame([("1", SPOT, UPRIGHT)])
        assert 10 < frame.mean() < 245
        assert visible["1"] == 1.0


def test_a_ball_at_rest_is_drawn_as_a_new_scene_draws_it(plain):
    still = ("3", SPOT, UPRIGHT)
    moved = [("cue", SPOT + (x, 0.01, 0), UPRIGHT) for x in (0.07, 0.09)]
    plain.frame([still, moved[0]])
    again, seen = plain.frame([still, moved[1]])
    anew, seen_anew = scene().frame([still, moved[1]])
    np.testing.assert_array_equal(again, anew)
    assert seen == seen_anew


def test_an_arm_hides_a_ball_and_darkens_the_cloth():
    arm = Limb(SPOT + (-0.5, 0, 0.1), SPOT + (0.0, 0, 0.1), (0.04, 0.04), (200, 150, 120))
    bare, covered = scene(), scene()
    ball = [("1", SPOT, UPRIGHT)]
    assert bare.blurred([Moment(ball)])[1]["1"] == 1.0
    frame, visible = covered.blurred([Moment(ball, None, [arm])])
    assert visible["1"] < 0.2
    assert (np.abs(frame[32, :10].astype(int) - bare.frame([])[0][32, :10]).max(-1) > 20).all()


@pytest.mark.parametrize("texture", textures.TEXTURES)
def test_a_texture_changes_the_cloth_a_little_and_not_on_the_whole(texture):
    point = np.random.default_rng(0).uniform(0, 1, (3, 20000))
    factors = textures.factors(texture, point)
    assert factors.dtype == np.float32 and 0.95 < factors.mean() < 1.05
    assert 0.75 < factors.min() and factors.max() < 1.3
    assert (factors.std() == 0) == (texture == "plain")


def test_cloths_never_seen_in_training_are_other_cloths():
    for train, unseen in (
        (looks.TRAIN_CLOTHS, looks.UNSEEN_CLOTHS),
        (looks.TRAIN_EDGE_CLOTHS, looks.UNSEEN_EDGE_CLOTHS),
    ):
        assert not set(train) & set(unseen) and {*train, *unseen} <= set(looks.CLOTHS)
    assert set(looks.CLOTH_WORDS) == set(looks.CLOTHS)


def test_an_unknown_look_or_ball_is_named():
    with pytest.raises(ConfigError, match="Unknown cloth 'gren'; allowed are blue, .* Did you mean 'green'"):
        scene(cloth="gren")
    with pytest.raises(ConfigError, match="Unknown texture 'silk'; allowed are plain, worn"):
        scene(texture="silk")
    with pytest.raises(ConfigError, match="Unknown ball '16'"):
        scene().frame([("16", SPOT, UPRIGHT)])


def test_a_banner_covers_the_lower_edge_and_what_lies_under_it():
    banner = Banner((3, 12))
    bare, covered = scene(), scene(score=banner)
    low = SPOT - (0, 0.19, 0)
    assert bare.frame([("1", low, UPRIGHT)])[1]["1"] - covered.frame([("1", low, UPRIGHT)])[1]["1"] > 0.3
    difference = np.abs(bare.frame([])[0].astype(int) - covered.frame([])[0]).max(-1)
    assert (difference[-9:-2, 28:36] > 20).all() and not difference[:40].any()
    with pytest.raises(ValueError, match="0 to 99"):
        Banner((3, 100))
