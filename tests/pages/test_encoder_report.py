"""The encoder's report: figures with controls, "not run" where there are none, and nothing from other hosts."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from hilight_jax.core.errors import DataError
from hilight_jax.pages.ablation_table import LOSSES
from hilight_jax.pages.encoder_report import write_report
from hilight_jax.pages.word_maps import Example, Place, Word

RANKS = {"R@1": 0.215, "R@5": 0.7, "R@10": 0.9, "median_rank": 3.0, "mean_rank": 7.25}
DIRECTIONS = {"text_to_video": RANKS, "video_to_text": RANKS}
BALL = {
    "pointing": 0.753, "interval": [0.71, 0.79], "area_chance": 0.035, "random_ball": 0.223, "any_ball": 0.81,
    "shuffled_word": 0.111, "soft_iou": 0.42, "soft_iou_uniform": 0.03, "soft_iou_shuffled": 0.05,
    "words": 900, "questions": 3333,
}  # fmt: skip
RECORDS = [
    {"step": 10, "loss": 3.0, "nce": 2.0, "across_clips": 1.0, "learning_rate": 1e-4, "seconds_per_step": 0.3},
    {"step": 20, "loss": 2.0, "nce": 1.5, "across_clips": 0.5, "learning_rate": 5e-5, "seconds_per_step": 0.3},
    {"step": 20, "validation/text_to_video_r1": 0.2, "validation/ball_pointing": 0.75},
]


def evaluation(split):
    ways = dict.fromkeys(("plain", "dsl_clip_vip", "dsl_both_ways"), DIRECTIONS)
    return {
        "name": split,
        "split": split,
        "step": 400,
        "which": "latest",
        "map_levels": ["embedding"],
        "skipped": [{"id": "clip<9>", "reason": "no text"}],
        "command": f"python -m hilight_jax.evaluate --data x/{split}",
        "retrieval": {"num_videos": 256, "num_texts": 512, **ways},
        "grounding": {
            "classes": {"ball": BALL, "cue_ball": BALL},
            "objects": {"ball:3": BALL},
            "levels": {"embedding": 0.753, "last": 0.0625},
        },
    }


def test_words_stand_beside_the_plain_figures(workdir):
    helped = evaluation("validation")
    ranks = dict.fromkeys(DIRECTIONS, {**RANKS, "R@1": 0.347})
    helped["retrieval"] |= {"words": ranks, "word_weight": 0.5, "shortlist": 100}
    (workdir / "evaluations" / "validation.json").write_text(json.dumps(helped))
    html = report(workdir, [*RECORDS, {"step": 20, "validation/text_to_video_words_r1": 0.3}])
    assert "validation, text → video, with words" in html and html.count("0.347") == 3
    assert "counts 0.5 beside the similarity, both standardised over the candidates (100 of them)" in html
    assert "validation R@1, with words" in html
    assert "with words" not in report_of("unseen", workdir)


def test_swaps_stand_with_their_controls_where_the_data_has_them(workdir):
    with_swaps = evaluation("validation")
    with_swaps["swaps"] = {"pairs": 720, "clips": 240, "right": 0.617, "interval": [0.57, 0.66], "other_clip": 0.504}
    (workdir / "evaluations" / "validation.json").write_text(json.dumps(with_swaps))
    html = report(workdir, [*RECORDS, {"step": 20, "validation/swaps_right": 0.6}])
    for figure in ("0.617", "0.57–0.66", "0.504", "720", "<figcaption>Captions above their swaps</figcaption>"):
        assert figure in html
    assert "above their swaps" not in report_of("unseen", workdir)


def test_annotated_frames_have_a_table_of_their_own(workdir):
    figures = {"places": 8, "pointing": 0.625, "interval": [0.12, 1.0], "area_chance": 0.0008, "median_error": 9.04}
    result = {"name": "points", "split": "points", "command": "evaluate", "step": 20, "which": "latest"}
    result |= {"words": {"the red ball": figures}, "zoom": 3.0, "videos": 4, "left_out": [], "date": "2026-12-01 10:00"}
    assert "Annotated frames" not in report(workdir, RECORDS)
    (workdir / "evaluations" / "points.json").write_text(json.dumps(result))
    html = report(workdir, RECORDS)
    for figure in ("Annotated frames", "the red ball", "0.625", "0.12–1.00", "0.0008", "9.0"):
        assert figure in html


def test_abstract_phrases_stand_with_chance_where_the_data_has_them(workdir):
    with_phrases = evaluation("validation")
    figures = {"captions": 250, "phrases": 10, "right": 0.113, "interval": [0.08, 0.15], "most_frequent": 0.129}
    with_phrases["abstract_phrases"] = {**figures, "R@1": 0.344, "R@1_rephrased": 0.328}
    (workdir / "evaluations" / "validation.json").write_text(json.dumps(with_phrases))
    html = report(workdir, RECORDS)
    for figure in ("0.113", "0.08–0.15", "0.129", "0.344", "0.328", "250"):
        assert figure in html
    assert "abstract phrases" not in report_of("unseen", workdir)


def report_of(split, workdir):
    """The report with the evaluation of one split alone."""
    for path in (workdir / "evaluations").iterdir():
        if path.stem != split:
            path.unlink()
    return report(workdir, RECORDS)


def example():
    frames = np.full((4, 64, 64, 3), 60, np.uint8)
    place = Place(np.full((4, 2), 32.0), np.full(4, 5.0), np.array([True, True, False, True]))
    word = Word(0, 12, np.random.default_rng(0).random((4, 8, 8)), place)
    return Example("clip <7>", "The red ball & others", frames, ["0 s", "1 s", "2 s", "3 s"], [word])


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"name": "encoder", "preset": "demo", "steps": 500}))
    (tmp_path / "evaluations").mkdir()
    for split in ("unseen", "validation"):
        (tmp_path / "evaluations" / f"{split}.json").write_text(json.dumps(evaluation(split)))
    return tmp_path


def report(workdir, *arguments, **options):
    return write_report(workdir, *arguments, **options).read_text()


def test_every_figure_stands_with_its_controls(workdir):
    html = report(workdir, RECORDS)
    for figure in ("0.215", "0.753", "0.71–0.79", "0.035", "0.223", "0.111", "0.810", "0.420", "3333", "7.2"):
        assert figure in html
    for words in ("random patch", "random ball", "shuffled word", "on any ball", "dual softmax", "512 captions of 256"):
        assert words in html
    assert html.index("validation: 256 clips") < html.index("unseen: 256 clips")


def test_the_curves_are_drawn(workdir):
    html = report(workdir, RECORDS)
    for title in ("Loss", "Retrieval, text → video", "Pointing", "Learning rate", "Seconds per step"):
        assert f"<figcaption>{title}</figcaption>" in html
    assert html.count("<polyline") == 3 + 1 + 1 + 1 + 1


def test_examples_become_gifs_with_marked_words(workdir):
    html = report(workdir, RECORDS, [example()])
    assert "<mark>The red ball</mark> &amp; others" in html and "clip &lt;7&gt;" in html
    with Image.open(workdir / "report" / "clip0-word0.gif") as gif:
        assert gif.n_frames == 4
    assert 'src="clip0-word0.gif"' in html


def test_cells_of_control_runs_that_were_not_run_say_so(workdir):
    run = {"seed": 0, "validation/text_to_video_r1": 0.31, "validation/ball_pointing": 0.17}
    controls = {
        "date": "2026-11-22",
        "command": "make controls",
        "rows": [
            {"name": "no local loss", "runs": [run, None]},
            {"name": "setting 4", "runs": [{"seed": 0, "not_run": "not trained"}, None]},
        ],
    }
    html = report(workdir, RECORDS, controls=controls)
    missing = '<td class="missing">not run</td>'
    assert f"<td>0.31 (1 of 2 seeds)</td>{missing}<td>0.17 (1 of 2 seeds)</td>" in html
    assert f"<tr><td>setting 4</td>{missing * len(LOSSES.columns)}</tr>" in html
    assert "Last run 2026-11-22, with: make controls" in html and "Not run, in runs: not trained (1)." in html


def test_the_checkpoint_of_every_figure_is_named(workdir):
    html = report(workdir, RECORDS, [example()], drawn_from="step 300, best")
    assert "trained to step 20 of 500" in html and "Checkpoint: step 300, best." in html
    assert "R@5 0.70, step 400, latest" in html and "maps: embedding" in html
    assert "512 captions of 256 clips, step 400, latest" in html


def test_levels_and_left_out_clips_are_shown(workdir):
    html = report(workdir, RECORDS)
    assert "<th>embedding</th><th>last</th><th>random patch</th><th>random ball</th>" in html
    assert "<td>0.753</td><td>0.062</td><td>0.035</td><td>0.223</td>" in html
    assert "<li>clip&lt;9&gt;: no text</li>" in html and "cue ball, unseen" in html


def test_a_broken_result_is_one_sentence(workdir):
    (workdir / "evaluations" / "unseen.json").write_text("{")
    with pytest.raises(DataError, match="unseen.json is not JSON"):
        report(workdir, RECORDS)


def test_an_empty_workdir_gives_a_page_that_says_what_was_not_run(tmp_path):
    html = report(tmp_path, [])
    assert html.count("not run") >= 4 and "make controls" in html


def test_the_page_needs_no_other_host_and_no_script(workdir):
    html = report(workdir, RECORDS, [example()])
    assert not re.search(r"https?://|//cdn|<script|@import|<link", html)
    assert "prefers-color-scheme: dark" in html and 'name="viewport"' in html


def test_the_commands_and_the_configuration_are_there(workdir):
    html = report(workdir, RECORDS, overrides=["--config.seed=1", "--config.data.train=my clips"])
    train = f"python -m hilight_jax.train --config configs/encoder.py:demo --workdir {workdir} --config.seed=1"
    assert f"{train} &#x27;--config.data.train=my clips&#x27;\n" in html
    assert "is no preset here" not in html and "is no preset here" in report(workdir, RECORDS, overrides=None)
    assert "python -m hilight_jax.evaluate --data x/unseen" in html and "&quot;steps&quot;: 500" in html


def test_a_report_replaces_the_former_one(workdir):
    report(workdir, RECORDS, [example()])
    report(workdir, RECORDS)
    assert [path.name for path in (workdir / "report").iterdir()] == ["index.html"]
