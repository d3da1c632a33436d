import dataclasses
import re

import numpy as np
import pytest

from hilight_jax.billiards.language.commentary import COMMENTS, Style, captions, facts, frame_caption
from hilight_jax.billiards.language.footage import count_tokens, is_shown, phrase
from tests.billiards.pretend import footage, happening, track

SHORT = Style(numbers=False, max_tokens=45, variants=3)
CUE, RED, BLUE = "ball:cue", "ball:3", "ball:2"


def four_balls(happenings=()):
    return footage({f"ball:{k}": track([9.0 * i + 5] * 3) for i, k in enumerate(("cue", "3", "2", "8"))}, happenings)


def test_a_caption_lists_the_object_balls_and_tells_the_strike():
    shot = four_balls([happening("strike", CUE, RED)])
    text = captions(shot, SHORT, np.random.default_rng(0))[0]["text"]
    pattern = r".* the (\w+) ball, the (\w+) ball and the (\w+) ball\. The cue ball (hit|strike)s the red ball\. (.*)"
    first, second, third, _, comment = re.fullmatch(pattern, text).groups()
    assert {first, second, third} == {"red", "blue", "black"}
    assert comment in COMMENTS


def test_every_thing_named_has_a_span_that_covers_its_words():
    shot = four_balls([happening("strike", CUE, RED), happening("drop", RED, "pocket:top-left", 1)])
    for caption in captions(shot, Style(), np.random.default_rng(1)):
        words = {span["object"]: caption["text"][span["start"] : span["end"]].lower() for span in caption["spans"]}
        assert words == {
            CUE: "the cue ball",
            RED: "the red 3-ball",
            BLUE: "the blue 2-ball",
            "ball:8": "the black 8-ball",
            "pocket:top-left": "the top-left pocket",
        }
        assert {span["kind"] for span in caption["spans"]} == {"ball", "pocket"}


def test_comments_get_no_span():
    caption = captions(four_balls(), SHORT, np.random.default_rng(2))[0]
    comment = next(comment for comment in COMMENTS if comment in caption["text"])
    assert all(span["end"] <= caption["text"].index(comment) for span in caption["spans"])


def test_the_order_of_listing_is_random():
    shot = four_balls()
    firsts = [captions(shot, SHORT, np.random.default_rng(k))[0]["spans"][0]["object"] for k in range(300)]
    shares = [firsts.count(ball) / 300 for ball in (RED, BLUE, "ball:8")]
    assert all(0.25 < share < 0.42 for share in shares)


def test_variants_tell_the_same_facts():
    shot = four_balls([happening("strike", CUE, RED)])
    written = captions(shot, SHORT, np.random.default_rng(3))
    told = [{span["object"] for span in caption["spans"]} for caption in written]
    assert len(told) == 3 and told[0] == told[1] == told[2]


def test_what_the_frames_do_not_show_is_not_told():
    shot = four_balls([happening("strike", CUE, RED, shown=False)])
    assert "cue ball" not in captions(shot, SHORT, np.random.default_rng(4))[0]["text"]


def test_a_ball_out_of_view_is_not_listed():
    shot = footage({CUE: track([5.0, 5.0]), RED: track([9.0, 9.0], visible=[0.0, 0.4]), BLUE: track([30.0, 30.0])})
    assert facts(shot, SHORT) == ([BLUE], [])


def test_the_same_two_meeting_again_are_told_once():
    shot = four_balls([happening("strike", CUE, RED), happening("strike", RED, CUE, 1)])
    assert len(facts(shot, SHORT)[1]) == 1


def test_a_place_without_a_name_is_told_without_a_span():
    shot = four_balls([happening("rebound", RED, None)])
    caption = captions(shot, SHORT, np.random.default_rng(5))[0]
    assert re.search(r"The red ball (rebounds|bounces) off a cushion\.", caption["text"])
    assert all(span["kind"] == "ball" for span in caption["spans"])


def test_the_largest_demo_clip_lists_all_balls_and_fits():
    balls = {f"ball:{k}": track([5.0] * 3) for k in ("cue", "3", "2", "8", "5")}
    struck = [happening("strike", CUE, f"ball:{k}", k % 2) for k in (3, 2, 8, 5)]
    shot = footage(balls, struck)
    listed, told = facts(shot, SHORT)
    assert len(listed) == 4 and len(told) == 2
    for seed in range(40):
        for caption in captions(shot, SHORT, np.random.default_rng(seed)):
            assert count_tokens(caption["text"]) <= 45


def test_a_break_of_sixteen_balls_fits_into_clip():
    balls = {f"ball:{k}": track([5.0] * 3) for k in ("cue", *range(1, 16))}
    strikes = [happening("strike", CUE, f"ball:{k}") for k in range(1, 16)]
    shot = footage(balls, [*strikes, happening("drop", "ball:9", "pocket:top-left", 1)])
    assert any(event.kind == "drop" for event in facts(shot, Style())[1])
    for seed in range(40):
        rng = np.random.default_rng(seed)
        for caption in [*captions(shot, Style(), rng), frame_caption(shot, Style(), rng)]:
            assert count_tokens(caption["text"]) <= Style().max_tokens <= 77


def test_a_frame_caption_lists_what_that_frame_shows():
    shot = footage({CUE: track([5.0, 5.0]), RED: track([40.0, 40.0], visible=[1.0, 0.0])})
    for seed in range(20):
        caption = frame_caption(shot, SHORT, np.random.default_rng(seed))
        named = {span["object"] for span in caption["spans"]}
        assert named == ({CUE, RED} if caption["frame"] == 0 else {CUE})


def test_left_and_right_in_a_frame_caption_are_those_of_the_picture():
    shot = footage({CUE: track([50.0]), RED: track([10.0])})
    text = {frame_caption(shot, SHORT, np.random.default_rng(k))["text"].partition(". ")[2] for k in range(20)}
    assert text == {"The cue ball lies right of the red ball.", "The red ball lies left of the cue ball."}


@pytest.mark.parametrize(
    ("name", "numbers", "words"),
    [
        ("ball:cue", True, "the cue ball"),
        ("ball:8", True, "the black 8-ball"),
        ("ball:3", True, "the red 3-ball"),
        ("ball:11", True, "the red-striped 11-ball"),
        ("ball:3", False, "the red ball"),
        ("pocket:left-middle", True, "the left-middle pocket"),
        ("cushion:top", True, "the top cushion"),
        ("cue", True, "the cue"),
    ],
)
def test_names(name, numbers, words):
    assert phrase(name, numbers) == words


def test_a_strike_is_shown_when_the_struck_ball_is_seen_to_move():
    moving, still = track([10.0, 20.0]), track([10.0, 11.0])
    assert is_shown("strike", still, moving, 0)
    assert not is_shown("strike", moving, still, 0)
    assert not is_shown("strike", moving, dataclasses.replace(moving, visible=np.array([1.0, 0.2])), 0)


def test_a_strike_is_not_shown_when_something_else_may_have_moved_the_ball():
    moving = track([10.0, 20.0])
    assert not is_shown("strike", moving, moving, 0, at_rest=False)
    assert not is_shown("strike", moving, moving, 0, sole_cause=False)


def test_a_strike_needs_its_striker_afterwards_unless_that_was_potted():
    struck, striker = track([10.0, 20.0]), track([0.0, 5.0], visible=[1.0, 0.0])
    assert not is_shown("strike", striker, struck, 0)
    assert is_shown("strike", striker, struck, 0, potted=True)


def test_a_rebound_is_shown_by_a_turn_at_a_cushion_in_the_picture():
    straight, turning = track([0.0, 20.0, 40.0]), track([0.0, 20.0, 8.0], [10.0, 20.0, 28.0])
    cushion = track([25.0] * 3)
    assert is_shown("rebound", turning, cushion, 1)
    assert not is_shown("rebound", turning, None, 1)
    assert not is_shown("rebound", turning, cushion, 0), "nothing shows where the ball came from"
    assert not is_shown("rebound", straight, cushion, 1)
    assert not is_shown("rebound", turning, cushion, 1, sole_cause=False)
    assert not is_shown("rebound", dataclasses.replace(turning, visible=np.array([0.0, 1, 1])), cushion, 1)


def test_a_drop_is_shown_when_the_ball_is_seen_before_and_gone_after():
    ball, pocket = track([10.0, 20.0], visible=[1.0, 0.0]), track([30.0])
    assert is_shown("drop", ball, pocket, 0, potted=True)
    assert not is_shown("drop", ball, None, 0, potted=True)
    assert not is_shown("drop", ball, pocket, 0)


def test_a_ball_left_in_the_jaws_is_told():
    shot = four_balls([happening("hang", RED, "pocket:top-left")])
    text = captions(shot, SHORT, np.random.default_rng(0))[0]["text"]
    assert "The red ball hangs in the jaws of the top-left pocket." in text
