"""Scoring files of answers on the published layouts, written by hand."""

import json

import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.evals.answer_scores import Answered
from hilight_jax.evals.qa_files import read_predictions, score_predictions

MSVD = [
    {"id": 7, "video_id": 1301, "question": "what is a man doing?", "answer": "play"},
    {"id": 8, "video_id": 1301, "question": "who is playing?", "answer": "man"},
    {"id": 9, "video_id": 1302, "question": "what is a cat doing?", "answer": "sleep"},
    {"id": 10, "video_id": 1302, "question": "is it a cat?", "answer": "yes"},
]
ACTIVITYNET_Q = [{"question_id": f"v_x_{i}", "video_name": "x", "question": f"question {i}?"} for i in (1, 2, 3, 4)]
ACTIVITYNET_A = [
    {"question_id": "v_x_1", "type": 0, "answer": "jump"},
    {"question_id": "v_x_2", "type": 3, "answer": "yes"},
    {"question_id": "v_x_3", "type": 7, "answer": "2"},
    {"question_id": "v_x_4", "type": 7, "answer": "3"},
]


@pytest.fixture
def write(tmp_path):
    def write(name, entries):
        path = tmp_path / name
        if name.endswith("l"):
            path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
        else:
            path.write_text(json.dumps(entries))
        return str(path)

    return write


def test_msvd_and_msrvtt_are_scored_by_first_word(write):
    answers = [{"id": 7, "answer": "Play."}, {"id": 8, "answer": "man"}, {"id": 10, "answer": "Yes, it is"}]
    predictions, file = write("mine.jsonl", answers), write("test_qa.json", MSVD)
    for kind in ("msvd_qa", "msrvtt_qa"):
        result = score_predictions(predictions, f"{kind}:{file}")
        assert {kind: group["normalised"] for kind, group in result["types"].items()} == {
            "what": 0.5,
            "who": 1.0,
            "other": 1.0,
        }
        assert result["overall"]["exact"] == 0.25 and result["overall"]["normalised"] == 0.75
        assert result["unanswered"] == 1 and result["questions"] == 4 and result["overall"]["refused"] == 0.25


def test_the_control_is_counted_on_the_training_answers(write):
    train = [{**entry, "answer": "sleep"} for entry in MSVD]
    file = f"{write('test_qa.json', MSVD)},train={write('train_qa.json', train)}"
    result = score_predictions(write("mine.json", [{"question_id": 9, "pred": "sleep"}]), f"msvd_qa:{file}")
    assert result["types"]["what"]["most_frequent"] == result["types"]["what"]["question_only"] == 0.5
    assert result["types"]["who"]["most_frequent"] == 0.0 and result["types"]["what"]["frequent_answer"] == "sleep"


def test_activitynet_has_nine_types_and_free_ones_together(write):
    write("test_q.json", ACTIVITYNET_Q)
    answers = [{"question_id": "v_x_2", "answer": "yes"}, {"question_id": "v_x_3", "answer": "two"}]
    result = score_predictions(write("p.json", answers), f"activitynet_qa:{write('test_a.json', ACTIVITYNET_A)}")
    assert {kind: group["normalised"] for kind, group in result["types"].items()} == {
        "motion": 0.0,
        "yes/no": 1.0,
        "number": 0.5,
    }
    assert result["free"]["questions"] == 3 and result["free"]["exact"] == pytest.approx(1 / 3)
    assert result["answers"][0]["question"] == "question 1?" and result["answers"][0]["clip"] == "x"


def test_the_truth_in_a_prediction_is_not_taken_for_it(write):
    path = write("p.jsonl", [{"id": 1, "answer": "the truth", "pred": "a guess"}, {"id": "2", "pred": "b"}])
    assert read_predictions(path) == {"1": "a guess", "2": "b"}


@pytest.mark.parametrize("key", ["pred", "prediction"])
def test_no_row_is_scored_on_the_truth_beside_other_rows_predictions(write, key):
    path = write("p.jsonl", [{"id": 1, "answer": "the truth"}, {"id": 2, "answer": "the truth", key: "a guess"}])
    with pytest.raises(DataError, match=f"line 1: a prediction needs .* a string in '{key}', where this file has its"):
        read_predictions(path)


def test_an_answer_beside_an_unknown_key_may_be_the_truth(write):
    path = write("p.jsonl", [{"id": 1, "question": "what?", "type": 3, "answer": "b", "output": "a guess"}])
    with pytest.raises(DataError, match="line 1: 'output' stands beside 'answer', so 'answer' may be the truth"):
        read_predictions(path)


def test_what_evaluate_writes_can_be_scored(write):
    written = Answered("7", 0, "1301", "what", "what is a man doing?", "play", "run", True, {"other_clip": "play"})
    assert read_predictions(write("p.jsonl", [written.as_json()])) == {"7": "run"}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"id": 7}], "entry 1: a prediction needs"),
        ([{"answer": "x"}], "it has answer"),
        ([{"id": 7, "answer": 3}], "a string in 'answer'"),
        ([{"id": 7, "output": "a"}], "a string in 'pred', .* it has id, output"),
        ([{"id": 7, "answer": "a"}, {"id": "7", "answer": "b"}], "'7' was answered before"),
        ([{"id": 99, "answer": "a"}], "answers 1 questions that .* does not have, '99' first"),
        ([1], "entry 1 must be an object, not 1"),
        ({}, "must hold a JSON list of objects"),
    ],
)
def test_wrong_predictions_are_one_sentence(write, entries, words):
    with pytest.raises(DataError, match=words):
        score_predictions(write("p.json", entries), f"msvd_qa:{write('test_qa.json', MSVD)}")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{**MSVD[0], "video_id": None}], "'video_id' must be a string or a whole number, not None"),
        ([{"id": 1, "video_id": 2, "question": "what?"}], "'answer' must be"),
        ([MSVD[0], MSVD[0]], "the question '7' occurs twice"),
        ([], "holds no questions"),
    ],
)
def test_wrong_annotations_are_one_sentence(write, entries, words):
    with pytest.raises(DataError, match=words):
        score_predictions(write("p.json", []), f"msvd_qa:{write('test_qa.json', entries)}")


def test_wrong_activitynet_files_are_one_sentence(write):
    predictions, answers = write("p.json", []), write("test_a.json", ACTIVITYNET_A)
    with pytest.raises(DataError, match="name them: activitynet_qa:.*test_a.json,questions=test_q.json"):
        score_predictions(predictions, f"activitynet_qa:{answers}")
    questions = write("q.json", ACTIVITYNET_Q[:1])
    with pytest.raises(DataError, match="has no question 'v_x_2'"):
        score_predictions(predictions, f"activitynet_qa:{answers},questions={questions}")
    wrong = write("wrong_a.json", [{**ACTIVITYNET_A[0], "type": 9}])
    with pytest.raises(DataError, match="'type' is 9, but must be a whole number from 0 to 8"):
        score_predictions(predictions, f"activitynet_qa:{wrong},questions={questions}")


@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ("msvd:test_qa.json", "Did you mean 'msvd_qa'"),
        ("test_qa.json", "write KIND:FILE with KIND out of msvd_qa, msrvtt_qa, activitynet_qa"),
        ("msvd_qa:test_qa.json,split=test", "'split=test' .* is no option; options: train=FILE, questions=FILE"),
        ("msvd_qa:there_is_none.json", "cannot read 'there_is_none.json'"),
        ("msvd_qa:there_is_none.json,questions=q.json", "'questions' is an option of activitynet_qa only"),
    ],
)
def test_wrong_specifications_are_one_sentence(write, specification, words):
    with pytest.raises(DataError, match=words):
        score_predictions(write("p.json", []), specification)
