import dataclasses

import numpy as np

from hilight_jax.billiards.language.commentary import Style, caption_sentences, facts
from hilight_jax.billiards.language.footage import Namer
from hilight_jax.billiards.language.labels import language_labels
from hilight_jax.billiards.language.swaps import swapped
from tests.billiards.pretend import footage, happening, track

CUE, RED, BLUE = "ball:cue", "ball:3", "ball:2"
RICH = Style(numbers=False, max_tokens=45, variants=3, rich=True)


def clip(happenings=(), balls=(CUE, RED, BLUE), **more):
    return footage({ball: track([9.0 + 20 * k] * 4) for k, ball in enumerate(balls)}, happenings, size=(80, 80), **more)


def swaps(shot, num_seeds=60):
    found = []
    for seed in range(num_seeds):
        rng = np.random.default_rng(seed)
        listed, told = facts(shot, RICH)
        found += swapped(shot, [caption_sentences(shot, listed, told, RICH, rng)], told, rng)
    return found


def told(caption):
    """The second sentence of a caption, in the commonest words."""
    words = (
        caption["text"]
        .split(". ")[1]
        .replace("white", "cue")
        .replace("strikes", "hits")
        .replace("is left", "lies left")
    )
    return words.lower()


def test_who_hits_whom_is_exchanged():
    assert {told(caption) for caption in swaps(clip([happening("strike", CUE, RED)]))} == {
        "the red ball hits the cue ball", "the cue ball hits the blue ball", "the blue ball hits the red ball",
    }  # fmt: skip


def test_no_swap_is_true():
    """The blue ball is hit as well, unseen; and any ball that drops falls into 'a pocket'."""
    hits = [happening("strike", CUE, RED), happening("strike", CUE, BLUE, 1, shown=False)]
    assert {told(caption) for caption in swaps(clip(hits))} == {
        "the red ball hits the cue ball", "the blue ball hits the red ball",
    }  # fmt: skip
    drops = [happening("drop", RED, None), happening("drop", BLUE, "pocket:top-left", 1, shown=False)]
    assert {told(caption) for caption in swaps(clip(drops))} == {
        "the cue ball falls into a pocket",
        "the cue ball drops into a pocket",
    }


def test_left_and_right_are_exchanged_where_nothing_happens():
    swap = {told(caption) for caption in swaps(clip())}
    assert "the blue ball lies left of the cue ball" in swap
    assert "the cue ball lies left of the red ball" not in swap, "that is true"


def test_spans_mark_the_exchanged_names():
    for caption in swaps(clip([happening("strike", CUE, RED)]), 10):
        for span in caption["spans"]:
            words = caption["text"][span["start"] : span["end"]].lower()
            names = {CUE: ("the cue ball", "the white ball"), RED: ("the red ball",), BLUE: ("the blue ball",)}
            assert words in names[span["object"]]


def test_a_clip_of_one_ball_has_no_swap():
    assert swaps(clip([happening("rebound", RED, "cushion:left")], balls=(RED,))) == []


def test_captions_name_the_cue_ball_only_where_it_is_in_view():
    away = clip([happening("strike", RED, BLUE)])
    away = dataclasses.replace(away, balls={**away.balls, CUE: track([9.0] * 4, visible=0.0)})
    shots = away, clip([happening("strike", CUE, RED)])
    for shot, is_there in zip(shots, (False, True), strict=True):
        labels = language_labels(shot, RICH, Namer(False, ("2", "3")), np.random.default_rng(0), trains=True)
        texts = [caption["text"].lower() for caption in (*labels["captions"], *labels["swaps"])]
        assert all(("cue ball" in text or "white ball" in text) == is_there for text in texts)


def test_some_captions_name_the_cloth_with_a_span():
    shot = clip([happening("strike", CUE, RED)], cloth="green")
    captions = [
        caption
        for seed in range(40)
        for caption in language_labels(shot, RICH, Namer(False, ("2",)), np.random.default_rng(seed), True)["captions"]
    ]
    cloths = [caption for caption in captions if "cloth" in caption["text"]]
    assert 0.35 < len(cloths) / len(captions) < 0.65
    for caption in cloths:
        (span,) = [span for span in caption["spans"] if span["kind"] == "cloth"]
        assert caption["text"][span["start"] : span["end"]].lower() == "the green cloth"
        assert span["object"] == "cloth:green" and span["object"] in shot.objects()
