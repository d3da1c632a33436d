"""The report of a chat run: answers with their controls, clips with questions, and the origins of the parts."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from hilight_jax.pages.chat_report import AskedClips, write_chat_report
from tests.pages.test_confidence import RESULT as CALIBRATED

GROUP = {
    "questions": 40, "exact": 0.611, "normalised": 0.622, "interval": [0.51, 0.73], "refused": 0.013, "unheard": 0.017,
    "most_frequent": 0.311, "question_only": 0.333, "other_clip": 0.355, "frequent_answer": "Two & a half.",
}  # fmt: skip
RESULT = {
    "name": "validation",
    "split": "validation",
    "step": 300,
    "which": "latest",
    "command": "python -m hilight_jax.evaluate --checkpoint runs/tune-demo",
    "conversations": 12,
    "clips": 14,
    "questions": 80,
    "skipped": ["clip<3>"],
    "frequent_from": "questions:train",
    "overall": {**GROUP, "frequent_answer": None},
    "types": {"count": GROUP, "first_hit": {**GROUP, "other_clip": None}},
    "yes_no": {
        "questions": 9, "truth_yes": 0.444, "answer_yes": 0.455, "answer_no": 0.466, "answer_neither": 0.079,
        "right_yes": 0.477, "right_no": 0.488,
    },
    "needs_video": {
        "types": ["count"], "given_away_by_question": ["first_hit"], "normalised": 0.622, "most_frequent": 0.311,
        "question_only": 0.333, "other_clip": 0.355,
        "margins": {"most_frequent": 0.311, "question_only": 0.289, "other_clip": 0.267},
    },
}  # fmt: skip
RECORDS = [
    {"step": 10, "loss": 3.0, "learning_rate": 1e-3, "seconds_per_step": 0.3},
    {"step": 20, "loss": 2.0, "validation/loss": 1.5, "validation/answers_right": 0.5},
]


@pytest.fixture
def workdir(tmp_path):
    workdir = tmp_path / "tune-demo"
    (workdir / "evaluations").mkdir(parents=True)
    config = {"name": "tune", "preset": "demo", "stage": "tune", "steps": 300}
    (workdir / "config.json").write_text(json.dumps(config))
    (workdir / "evaluations" / "validation.json").write_text(json.dumps(RESULT))
    unseen = {**RESULT, "name": "unseen", "split": "unseen", "yes_no": None}
    (workdir / "evaluations" / "unseen.json").write_text(json.dumps(unseen))
    return workdir


def report(workdir, *arguments, **options):
    return write_chat_report(workdir, *arguments, **options).read_text()


def test_every_kind_of_question_stands_beside_its_controls(workdir):
    html = report(workdir, RECORDS)
    row = re.search(r"<tr><td>count</td>.*?</tr>", html)[0]
    for figure in ("0.622", "0.51–0.73", "0.311", "Two &amp; a half.", "0.333", "0.355", "0.611", "0.013", "0.017"):
        assert figure in row
    assert '<td class="missing">not run</td>' in re.search(r"<tr><td>first hit</td>.*?</tr>", html)[0]
    assert "+31.1 points on &#x27;most frequent answer&#x27; (0.311)" in html
    assert "Given away by the question: first_hit" in html and "<li>clip&lt;3&gt;</li>" in html
    assert html.index("validation: 12 conversations about 14 clips, step 300, latest") < html.index("unseen: 12")
    assert "0.444" in html and "0.488" in html and html.count("says yes") == 1


def test_tiles_and_curves_are_there(workdir):
    html = report(workdir, RECORDS)
    assert "Answers that need the video" in html and "another clip shown 0.35" in html
    for title in ("Loss", "Validation loss", "Validation, truth given so far", "Learning rate"):
        assert f"<figcaption>{title}</figcaption>" in html
    assert "stage <em>tune</em>" in html and "trained to step 20 of 300" in html


def test_a_calibration_is_a_tile_and_a_diagram(workdir):
    assert "How sure it is" not in report(workdir, RECORDS)
    calibrated = {**RESULT, "calibration": CALIBRATED["calibration"]}
    (workdir / "evaluations" / "validation.json").write_text(json.dumps(calibrated))
    html = report(workdir, RECORDS)
    assert "<span>Calibration error</span><b>0.045</b>" in html and "temperature 2.00" in html
    assert html.index("Answers</h2>") < html.index("validation: are confident answers right?")


def test_clips_become_gifs_with_questions_and_answers(workdir):
    answers = [
        {"question": "How many?", "answer": "Two.", "truth": "Two.", "right": True},
        {"question": "Why <so>?", "answer": "", "truth": "Because.", "right": False},
    ]
    clips = list(np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), np.uint8))
    html = report(workdir, RECORDS, [AskedClips("clip <7>", clips, answers)], "step 300, latest")
    assert "<td>How many?</td>" in html and "✓" in html and "✗" in html and "Why &lt;so&gt;?" in html
    assert "Checkpoint: step 300, latest." in html and "clip &lt;7&gt;" in html
    with Image.open(workdir / "report" / "asked0-clip1.gif") as gif:
        assert gif.n_frames == 4


def test_parts_are_linked_to_the_runs_that_made_them(workdir):
    encoder = workdir.parent / "encoder-demo"
    (encoder / "report").mkdir(parents=True)
    (encoder / "report" / "index.html").write_text("")
    origins = {
        "vision": {"workdir": str(encoder), "step": 500, "fingerprint": "f"},
        "frames": {"workdir": "elsewhere", "step": 7, "fingerprint": "f"},
    }
    (workdir / "provenance.json").write_text(json.dumps(origins))
    html = report(workdir, RECORDS)
    assert '<a href="../../encoder-demo/report/index.html">' in html and "<td><code>elsewhere</code></td>" in html


def test_an_empty_workdir_gives_a_page_that_says_what_was_not_run(tmp_path):
    assert report(tmp_path, []).count("not run") >= 3


def test_the_commands_name_the_stages_config(workdir):
    html = report(workdir, RECORDS, overrides=["--config.seed=1"])
    assert f"--config configs/tune.py:demo --workdir {workdir} --config.seed=1" in html
    assert RESULT["command"] in html and not re.search(r"https?://|<script|@import|<link", html)
