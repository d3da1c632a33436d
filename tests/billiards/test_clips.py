import dataclasses
import json
import re

import numpy as np
import pytest

from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.rendering.looks import TRAIN_CLOTHS, UNSEEN_CLOTHS
from hilight_jax.billiards.worlds import DEMO, TABLE, WORLDS, get_world
from hilight_jax.core.errors import UserError

COLOURS = {"ball:cue": (240, 236, 220), "ball:1": (250, 200, 28), "ball:2": (22, 62, 186), "ball:3": (212, 16, 30)}


@pytest.fixture(scope="module")
def clips():
    return [make_clip(DEMO, "train", number) for number in range(12)]


def tracks(clip):
    for name, track in clip.labels["objects"].items():
        if name.startswith("ball:"):
            yield name, *(np.array(track[key]) for key in ("x", "y", "radius", "visible"))


def test_the_same_number_gives_the_same_clip_bit_for_bit(clips):
    again = make_clip(DEMO, "train", 3)
    np.testing.assert_array_equal(again.frames, clips[3].frames)
    assert again.labels == clips[3].labels


def test_other_numbers_splits_and_attempts_give_other_clips(clips):
    others = [make_clip(DEMO, "validation", 3), make_clip(DEMO, "train", 3, attempt=1), clips[4]]
    assert all((other.frames != clips[3].frames).any() for other in others)


def test_the_demo_is_as_its_world_says(clips):
    for clip in clips:
        assert clip.frames.shape == (4, 64, 64, 3) and clip.frames.dtype == np.uint8
        assert clip.labels["num_frames"] == len(clip.labels["times"]) == 4
        assert clip.labels["camera"] == "close" and clip.labels["cloth"] in TRAIN_CLOTHS
        assert 3 <= len(list(tracks(clip))) <= 5
        assert len({caption["text"] for caption in clip.labels["captions"]}) == 3


def test_every_ball_seen_in_the_demo_has_a_radius_of_four_pixels(clips):
    for clip in clips:
        for _, _, _, radius, visible in tracks(clip):
            assert (radius[visible > 0] >= 4.0).all()
            assert visible[0] >= 0.5


def test_a_ball_is_where_the_labels_say_and_has_its_colour(clips):
    checked = 0
    rows, columns = np.mgrid[0:64, 0:64] + 0.5
    for clip in clips:
        for name, x, y, radius, visible in tracks(clip):
            for frame in np.flatnonzero(visible == 1.0) if name in COLOURS else ():
                disc = np.hypot(columns - x[frame], rows - y[frame]) < 0.8 * radius[frame]
                found = np.median(clip.frames[frame][disc], axis=0)
                distances = {other: np.abs(found - colour).sum() for other, colour in COLOURS.items()}
                assert min(distances, key=distances.get) == name
                checked += 1
    assert checked > 30


def test_captions_name_only_objects_with_a_track_in_view(clips):
    for clip in clips:
        for caption in [*clip.labels["captions"], clip.labels["frame_caption"]]:
            for span in caption["spans"]:
                assert max(clip.labels["objects"][span["object"]]["visible"]) >= 0.5
        told = {span["object"] for span in clip.labels["captions"][0]["spans"]}
        assert told == {name for name, *_ in tracks(clip)}


def test_unseen_cameras_and_cloths_are_never_in_the_other_splits():
    clip = make_clip(DEMO, "unseen", 0)
    assert clip.labels["camera"] == "close_low" and clip.labels["cloth"] in UNSEEN_CLOTHS
    for world in WORLDS.values():
        assert not set(world.cameras) & set(world.unseen_cameras) and not set(world.cloths) & set(world.unseen_cloths)


def test_a_film_for_watching_shows_the_same_shot_in_more_frames(clips):
    film = make_clip(DEMO, "train", 0, fps=10.0)
    last = clips[0].labels["times"][-1]
    assert len(film.frames) == round(last * 10) + 1 == film.labels["num_frames"]
    assert film.labels["captions"] == clips[0].labels["captions"]
    at_start = {name: (x[0], y[0]) for name, x, y, *_ in tracks(clips[0])}
    assert {name: (x[0], y[0]) for name, x, y, *_ in tracks(film)} == at_start


def test_nine_ball_hits_the_lowest_ball_first():
    small = {"width": 48, "height": 48, "num_frames": 8, "smallest_ball": 0.1}
    world = dataclasses.replace(TABLE, games=("nine_ball",), layouts=("table", "close"), cameras=("top",), **small)
    found = 0
    for number in range(8):
        labels = make_clip(world, "train", number).labels
        balls = sorted(int(name.split(":")[1]) for name in labels["objects"] if re.match(r"ball:\d", name))
        for question in labels["questions"]:
            if question["type"] == "first_hit":
                assert f"{balls[0]}-ball" in question["answer"]
                found += 1
    assert found >= 3


def test_the_table_world_has_twelve_frames_over_two_to_three_seconds():
    clip = make_clip(TABLE, "train", 1)
    assert clip.frames.shape == (12, 224, 224, 3)
    assert 2 <= clip.labels["times"][-1] <= 3
    json.dumps(clip.labels, allow_nan=False)


def test_motion_blur_smears_a_moving_ball_and_nothing_else():
    blurred = make_clip(dataclasses.replace(DEMO, shutter=1 / 10, exposures=5), "train", 0)
    sharp = make_clip(DEMO, "train", 0)
    assert blurred.labels["captions"] == sharp.labels["captions"]
    different = np.abs(blurred.frames.astype(int) - sharp.frames).max(-1) > 40
    assert different[0].any() and different.mean() < 0.05


def test_an_unknown_world_is_named_with_the_known_ones():
    with pytest.raises(
        UserError,
        match="unknown world 'demo'; known are demo-v1, demo-v2, demo-v2-112, demo-v3, table",
    ):
        get_world("demo")
