"""The whole evaluation on a world whose right answers are known."""

import json

import numpy as np
import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.records import Caption, Span
from hilight_jax.data.tokenizers import ClipTokenizer
from hilight_jax.evals.encoder_evaluation import evaluate_encoder, headline, level_names, map_levels
from hilight_jax.evals.named_words import known_things, naming_spans, word_class
from tests.evals.coloured_discs import SETS, ColouredDiscs, ColourEncoder


@pytest.fixture(scope="module")
def result():
    return evaluate_encoder(ColourEncoder(), ColouredDiscs())


def test_the_right_encoder_gets_full_marks(result):
    assert result["clips"] == result["captions"] == 7
    assert result["retrieval"]["plain"]["text_to_video"]["R@1"] == 1.0
    assert result["retrieval"]["plain"]["video_to_text"]["R@1"] == 1.0
    ball = result["grounding"]["classes"]["ball"]
    assert ball["pointing"] == 1.0 and ball["any_ball"] == 1.0
    assert ball["words"] == 12 and ball["questions"] == 24  # 3 + 6 + 3 words, two frames each


def test_words_find_what_the_right_encoder_finds(result):
    words = result["retrieval"]["words"]
    assert words["text_to_video"]["R@1"] == words["video_to_text"]["R@1"] == 1.0
    assert headline(result, "validation")["validation/text_to_video_words_r1"] == 1.0


def test_without_local_heads_there_are_no_words():
    encoder = ColourEncoder()
    encoder.config.model.local.levels = ()
    result = evaluate_encoder(encoder, ColouredDiscs())
    assert "words" not in result["retrieval"]
    assert not [name for name in headline(result, "validation") if "words" in name]


def test_words_are_weighed_and_listed_as_asked():
    retrieval = evaluate_encoder(ColourEncoder(), ColouredDiscs(), word_weight=0.0, shortlist=3)["retrieval"]
    assert retrieval["words"] == retrieval["plain"]
    assert (retrieval["word_weight"], retrieval["shortlist"]) == (0.0, 3)


def test_the_controls_are_those_of_the_world(result):
    ball = result["grounding"]["classes"]["ball"]
    assert ball["area_chance"] == 1 / 16
    # One, two or three balls to draw from: 3 words of 1/1, 6 of 1/2, 3 of 1/3.
    assert ball["random_ball"] == pytest.approx((3 * 1 + 6 / 2 + 3 / 3) / 12)
    # Another colour's map peaks on another ball, or is flat where that ball is not there: the area chance.
    assert ball["shuffled_word"] <= 1 / 16
    assert set(result["grounding"]["objects"]) == {"ball:red", "ball:green", "ball:blue"}


def test_the_right_encoder_places_every_ball_and_sees_no_other(result):
    places = result["grounding"]["places"]
    ball = places["classes"]["ball"]
    assert ball["frames"] == 24 and ball["median_error"] <= ball["patch_centre"] < 2
    assert places["precision"] == places["recall"] == 1 and places["false_alarms"] == 0
    sparc = evaluate_encoder(ColourEncoder(contrast="within_clip"), ColouredDiscs())["grounding"]
    assert sparc["places"] is None  # Its maps are no cosines.


def test_raw_dot_products_are_the_default_after_sparc():
    sparc = evaluate_encoder(ColourEncoder(contrast="within_clip"), ColouredDiscs())["grounding"]
    assert sparc["similarity"] == "dot" and sparc["classes"]["ball"]["pointing"] == 1.0
    assert sparc["classes"]["ball"]["soft_iou"] == pytest.approx(1.0, abs=0.02)  # the disc lies in one patch


def test_the_figures_do_not_depend_on_the_batch_size(result):
    encoder = ColourEncoder(batch_size=5)
    assert evaluate_encoder(encoder, ColouredDiscs()) == result
    assert encoder.shapes == {(5, 2, 32, 32, 3), (5, 24)}  # the last batch is filled up, not shortened


def test_a_clip_that_cannot_be_decoded_is_left_out_and_named():
    broken = evaluate_encoder(ColourEncoder(), ColouredDiscs(broken=[2]))
    (skipped,) = broken["skipped"]
    assert skipped["id"] == "discs/2" and skipped["reason"].startswith("not decodable: ")
    assert broken["clips"] == broken["captions"] == 6
    assert "ball:blue" in broken["grounding"]["objects"] and broken["grounding"]["classes"]["ball"]["words"] == 11


def test_a_quarantined_clip_is_left_out_with_its_captions(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"id": "discs/6", "reason": "blurred"}\n')
    result = evaluate_encoder(ColourEncoder(quarantine=str(tmp_path / "bad.jsonl")), ColouredDiscs())
    assert result["skipped"] == [{"id": "discs/6", "reason": "in the quarantine list"}]
    assert result["clips"] == result["captions"] == 6 and result["grounding"]["classes"]["ball"]["words"] == 9


def test_every_tapped_level_is_scored_by_itself(result):
    assert result["grounding"]["levels"] == {}
    two = evaluate_encoder(ColourEncoder(levels=2), ColouredDiscs())["grounding"]
    assert two["levels"] == {"embedding": 1.0, "last": 1 / 16}
    assert two["classes"] == result["grounding"]["classes"]


def test_levels_have_names():
    encoder = ColourEncoder(levels=2)
    assert level_names(encoder) == ("embedding", "last") and map_levels(encoder) == ["embedding"]
    encoder.config.model.local.levels = ("all",)
    assert level_names(encoder) == ("block 1", "block 2")
    encoder.config.model.local.levels, encoder.level_weights = (), (1.0,)
    assert level_names(encoder) == ("last",) and map_levels(encoder) == ["last"]


def test_a_source_without_a_usable_clip_is_an_error():
    with pytest.raises(DataError, match="no clip that can be evaluated"):
        evaluate_encoder(ColourEncoder(), ColouredDiscs(broken=range(len(SETS))))


def test_only_the_first_clips_on_request():
    few = evaluate_encoder(ColourEncoder(), ColouredDiscs(), num_clips=3)
    assert few["clips"] == 3 and few["grounding"]["classes"]["ball"]["words"] == 3


def test_the_headline_names_every_figure_with_its_controls(result):
    figures = headline(result, "validation")
    assert figures["validation/text_to_video_r1"] == 1.0 and figures["validation/video_to_text_median_rank"] == 1.0
    controls = ("pointing", "area_chance", "random_ball", "any_ball", "shuffled_word")
    assert {f"validation/ball_{name}" for name in controls} <= set(figures)


def test_the_result_is_json(result):
    assert json.loads(json.dumps(result)) == result


def test_a_spans_tokens_are_its_content_words():
    caption = Caption("Look, the red 3-ball drops.", (Span(6, 20, "ball", "ball:3"),))
    tokens = ClipTokenizer(16)(caption.text)
    ((span, positions),) = naming_spans(caption, tokens)
    assert span.object == "ball:3"
    assert [caption.text[slice(*tokens.spans[i])] for i in positions] == ["red", "3", "ball"]
    ((_, cut_off),) = naming_spans(caption, ClipTokenizer(4)(caption.text))
    assert not len(cut_off)


def test_the_cue_ball_is_a_class_of_its_own():
    assert word_class(Span(0, 1, "ball", "ball:cue")) == "cue_ball"
    assert word_class(Span(0, 1, "ball", "ball:3")) == "ball" and word_class(Span(0, 1, "cue", "cue")) == "cue"


def test_cushions_are_no_one_place():
    text = "the 3-ball rebounds off the left cushion"
    caption = Caption(text, (Span(0, 10, "ball", "ball:3"), Span(24, 40, "cushion", "cushion:left")))
    assert [span.object for span, _ in naming_spans(caption, ClipTokenizer(16)(text))] == ["ball:3"]


def test_places_follow_the_frames_that_are_chosen_and_the_squash_to_a_square():
    thing = {"x": [0, 10, 20, 30], "y": [0, 1, 2, 3], "radius": [2] * 4, "visible": [1, 0, 0.5, 1]}
    track = known_things({"height": 20, "width": 40, "objects": {"ball:1": thing}}, num_frames=2, image_size=40)[
        "ball:1"
    ]
    np.testing.assert_allclose([track.x, track.y, track.visible], [[0, 30], [0, 6], [1, 1]])
    np.testing.assert_allclose(track.radius, 2 * 2**0.5)  # same area


def test_the_influences_of_the_clips_belong_to_the_figures():
    result = evaluate_encoder(ColourEncoder(), ColouredDiscs(), word_weight=0.0)
    influences = result["influences"]
    assert all(len(of_clips) == 7 for of_clips in influences.values())
    assert {"text_to_video_r1", "ball_pointing", "ball_any_ball", "ball_soft_iou"} <= set(influences)
    assert influences["ball_pointing"] == [0.0] * 7, "every clip is right"
    assert abs(sum(influences["text_to_video_r1"])) < 1e-9
    assert "influences" not in result["grounding"]["classes"]["ball"]
    broken = evaluate_encoder(ColourEncoder(), ColouredDiscs(broken=[0]))["influences"]
    assert len(broken["text_to_video_r1"]) == 7 and broken["text_to_video_r1"][0] == 0.0
