"""Answers of an evaluation are read back with their clips."""

import json

import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.evals.example_clips import asked_clips
from tests.evals.coloured_screens import DATA, ColouredScreens


@pytest.fixture
def answers(tmp_path):
    rows = [{"id": f"screens/{i}#{turn}", "index": i, "clip": "c", "answer": "a"} for i in (0, 2) for turn in (0, 2, 4)]
    path = tmp_path / "validation.answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [{**rows[0], "clip": ""}, *rows]))
    return path


def test_the_first_conversations_about_clips_are_shown(answers):
    first, second = asked_clips(answers, ColouredScreens(("red", "green", "blue")), DATA, num_questions=2)
    assert first.name == "screens/0" and second.name == "screens/2"
    assert [answer["id"] for answer in second.answers] == ["screens/2#0", "screens/2#2"]
    (clip,) = second.clips
    assert clip.shape == (2, 32, 32, 3) and clip.mean((0, 1, 2)).argmax() == 2
    assert len(asked_clips(answers, ColouredScreens(("red", "green", "blue")), DATA, num_conversations=1)) == 1


def test_answers_of_another_source_are_refused(answers):
    with pytest.raises(DataError, match="does not fit 'questions:screens/validation', whose conversation 0"):
        asked_clips(answers, ColouredScreens(("red", "green", "blue"), broken=[0]), DATA)


def test_without_answers_there_is_nothing_to_show(tmp_path):
    assert asked_clips(tmp_path / "none.jsonl", ColouredScreens(("red",)), DATA) == []
