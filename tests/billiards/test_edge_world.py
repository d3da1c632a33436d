"""Facts about the world demo-v2: its pictures, its plays, and what is left out of them."""

import collections
import dataclasses

import numpy as np
import pytest

from hilight_jax.billiards import edge_setups
from hilight_jax.billiards.clips import make_clip
from hilight_jax.billiards.physics.simulation import simulate
from hilight_jax.billiards.physics.table import Table
from hilight_jax.billiards.rendering.looks import CLOTH_WORDS
from hilight_jax.billiards.worlds import EDGE
from hilight_jax.core.errors import ConfigError

TABLE = Table()


def only(act, layout="pocket", **changes):
    """The world with one play."""
    return dataclasses.replace(EDGE, plays=((act, layout, 1),), **changes)


def track(clip, name):
    return {key: np.array(values) for key, values in clip.labels["objects"][name].items()}


def balls(clip):
    return [name for name in clip.labels["objects"] if name.startswith("ball:")]


def step_lengths(clip, name):
    """Pixels between one frame and the next."""
    return np.hypot(np.diff(track(clip, name)["x"]), np.diff(track(clip, name)["y"]))


@pytest.fixture(scope="module")
def clips():
    return [make_clip(EDGE, "train", number) for number in range(30)]


@pytest.fixture(scope="module")
def unseen():
    return [make_clip(EDGE, "unseen", number) for number in range(15)]


def test_a_ball_in_view_has_a_radius_of_four_pixels(clips, unseen):
    for clip in [*clips, *unseen]:
        assert clip.frames.shape == (6, 64, 64, 3)
        for name in balls(clip):
            found = track(clip, name)
            assert (found["radius"][found["visible"] > 0] >= 4.0).all()


def test_most_clips_show_the_edge_and_half_of_them_a_pocket(clips, unseen):
    for some in (clips, unseen):
        kinds = [{name.partition(":")[0] for name in clip.labels["objects"]} for clip in some]
        assert np.mean([bool(found & {"pocket", "cushion"}) for found in kinds]) >= 0.75
        assert np.mean(["pocket" in found for found in kinds]) >= 0.4


def test_unseen_looks_are_never_trained_on(clips, unseen):
    for seen, never in (
        (EDGE.cameras, EDGE.unseen_cameras),
        (EDGE.cloths, EDGE.unseen_cloths),
        (EDGE.textures, EDGE.unseen_textures),
    ):
        assert not set(seen) & set(never)
    assert {clip.labels["camera"] for clip in unseen} <= set(EDGE.unseen_cameras)
    assert {clip.labels["cloth"] for clip in unseen} <= set(EDGE.unseen_cloths)
    assert {clip.labels["cloth"] for clip in clips} <= set(EDGE.cloths)
    trained = {CLOTH_WORDS[cloth] for cloth in EDGE.cloths}
    assert {CLOTH_WORDS[cloth] for cloth in EDGE.unseen_cloths} <= trained, "unseen cloths need no word that is new"


def test_a_quarter_of_the_clips_and_more_lacks_the_cue_ball_and_as_many_end_before_an_event():
    weights = collections.Counter()
    for act, _, weight in EDGE.plays:
        weights[act] += weight
    total = sum(weights.values())
    assert 0.25 <= (weights["rolling"] + weights["rest"]) / total <= 0.31
    assert 0.25 <= (weights["early"] + weights["nearly"]) / total <= 0.3


@pytest.mark.parametrize("act", ["rolling", "rest"])
def test_captions_do_not_name_a_cue_ball_that_is_not_there(act):
    for number in range(6):
        clip = make_clip(only(act), "train", number)
        assert "ball:cue" not in clip.labels["objects"] and balls(clip)
        for caption in [*clip.labels["captions"], clip.labels["frame_caption"]]:
            assert "cue ball" not in caption["text"] and "white ball" not in caption["text"]
        moved = max(step_lengths(clip, name).sum() for name in balls(clip))
        assert moved == 0 if act == "rest" else moved > 4


def test_early_clips_end_before_the_first_contact():
    for number in range(6):
        clip = make_clip(only("early"), "train", number)
        assert (track(clip, "ball:cue")["visible"] >= 0.5).all()
        assert (step_lengths(clip, "ball:cue") > 1).sum() >= 2, "its way is seen"
        others = [name for name in balls(clip) if name != "ball:cue"]
        assert others and all(step_lengths(clip, name).max() == 0 for name in others)
        kinds = {question["type"] for question in clip.labels["questions"]}
        assert not kinds & {"first_hit", "order"}
        asked = [q for q in clip.labels["questions"] if q["type"] in ("potted", "potted_ball", "pocket", "cushion")]
        assert all(q["accepted"][0] in ("No.", "None.", "It is not potted.", "It touches none.") for q in asked)


def test_shots_near_a_pocket_pot_a_ball_about_half_of_the_time():
    rng = np.random.default_rng(0)
    potted = 0
    for _ in range(100):
        setup = edge_setups.draw("shot", "pocket", ("cue", "1", "2"), EDGE, TABLE, rng)
        shot = simulate(TABLE, setup.ball_ids, setup.positions, setup.strike)
        potted += any(event.kind == "pocket" and event.balls == ("1",) for event in shot.events)
    assert 35 <= potted <= 85


@pytest.mark.parametrize("layout", ["pocket", "rail", "group"])
def test_the_runner_is_an_object_ball_where_the_cue_ball_is_out_of_sight(layout):
    rng = np.random.default_rng(1)
    gone = 0
    for _ in range(20):
        setup = edge_setups.draw("rolling", layout, ("cue", "1", "2", "3"), EDGE, TABLE, rng)
        assert setup.strike.ball == 1 and TABLE.holds(setup.positions).all()
        assert np.hypot(*(setup.positions[0] - setup.focus)) > 0.6
        gone += setup.potted == ("cue",)
        assert edge_setups.draw("shot", layout, ("cue", "1", "2"), EDGE, TABLE, rng).strike.ball == 0
    assert 4 <= gone <= 16


@pytest.mark.parametrize("play", [("late", "pocket", 1), ("shot", "corner", 1), ("shot", "rail", 0)])
def test_an_unknown_play_is_refused(play):
    with pytest.raises(ConfigError, match="acts are shot, early, .* layouts pocket, rail, group"):
        dataclasses.replace(EDGE, plays=(play,))


def test_labels_name_the_play_and_the_colour_of_the_cloth(clips):
    plays = {f"{act} {layout}" for act, layout, _ in EDGE.plays}
    for clip in clips:
        assert clip.labels["play"] in plays
        assert clip.labels["cloth_colour"] == CLOTH_WORDS[clip.labels["cloth"]]
        assert 2 <= clip.quantizer <= 10
