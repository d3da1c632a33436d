import itertools
import json

import av
import numpy as np
import pytest

from hilight_jax.billiards import match_play, match_script, matches
from hilight_jax.billiards.worlds import get_world

WORLD = get_world("demo-v3")
SHORT = (0.2, 0.3)


def script(number=0, seconds=240.0, **habits):
    manner = match_script.Manner(0.5, 0.5, 0.3, 0.3, 0.3, True, 0.0)._replace(**habits)
    rng = np.random.default_rng(number)
    return match_script.write(match_play.turns(WORLD, rng), seconds, manner, 3, rng)


def test_the_truth_of_a_match_is_the_same_every_time():
    one, other = (matches.make_match(WORLD, 3, (1, 2)) for _ in range(2))
    assert matches.truths(WORLD, one) == matches.truths(WORLD, other)
    assert matches.truths(WORLD, matches.make_match(WORLD, 4, (1, 2))) != matches.truths(WORLD, one)


def test_its_frames_are_the_same_every_time():
    one, other = (matches.make_match(WORLD, 3, SHORT).frames() for _ in range(2))
    for (time, frame), (other_time, other_frame) in itertools.islice(zip(one, other, strict=True), 40):
        assert time == other_time
        np.testing.assert_array_equal(frame, other_frame)


def test_a_stroke_begins_where_the_one_before_left_the_balls():
    turns = list(itertools.islice(match_play.turns(WORLD, np.random.default_rng(0)), 12))
    continued = [pair for pair in itertools.pairwise(turns) if not pair[1].moved]
    assert len(continued) >= 5
    for before, after in continued:
        end = before.shot.states([60.0])
        np.testing.assert_array_equal(after.setup.positions, end.positions[0])
        gone = {ball for ball, there in zip(before.setup.ball_ids, end.on_table[0], strict=True) if not there}
        assert set(after.setup.potted) == gone


def test_parts_follow_each_other_without_gaps():
    parts, _ = script()
    assert parts[0].start == 0
    assert all(one.end == other.start for one, other in itertools.pairwise(parts))
    assert {part.kind for part in parts} >= {"live", "replay", "sting"}


def test_every_stroke_is_struck_once_live():
    parts, turns = script(1)
    lives = [part for part in parts if part.kind == "live"]
    for k in range(len(turns)):
        assert sum(part.turn == k and part.clock <= 0 < part.clock + part.end - part.start for part in lives) == 1


def test_slow_motion_takes_longer():
    parts, _ = script(2)
    for part in (part for part in parts if part.kind == "replay"):
        assert match_script.SOONEST <= part.clock < 0 and part.speed in (0.4, 0.6, 1.0)


def test_one_camera_without_interludes_makes_no_cuts():
    parts, _ = script(3, 60.0, replays=0.0, cuts=0.0, views=0.0, interludes=0.0)
    kept = [part for part in parts if part.kind in match_script.INTERLUDES]  # A new game, or the cue ball in hand.
    assert len(match_script.cuts(parts)) == sum(
        one.kind != other.kind or one.kind != "live" for one, other in itertools.pairwise(parts)
    )
    assert len(kept) < len(parts)


def test_a_film_has_its_frames_at_their_times_and_its_truth_beside_it(tmp_path):
    path, truth = matches.write_match(WORLD, 5, SHORT, tmp_path)
    with av.open(path) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert times[0] == 0 and times[-1] == pytest.approx(truth["seconds"], abs=0.3)
    assert json.loads((tmp_path / "demo-v3-match-000005.json").read_text()) == truth
    assert truth["strokes"] and all(stroke["time"] < stroke["end"] for stroke in truth["strokes"])
    assert all(stroke["caption"] and stroke["facts"] for stroke in truth["strokes"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo-v3-match-000005.json", "demo-v3-match-000005.mp4"]
