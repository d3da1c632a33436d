"""Log-probabilities in OpenAI's form, on numbers written out and on a served model."""

import json
import math

import numpy as np
import pytest

pytest.importorskip("fastapi")

from hilight_jax.serving.log_probs import AnswerLogProbs, ScoredToken, score_tokens
from tests.data.conversations.tiny_gemma import TOKENIZER
from tests.serving.server import ask, listening

LOGITS = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]], np.float32))


def test_each_row_gets_the_alternatives_that_it_wants():
    first, second = score_tokens(LOGITS, np.array([1, 2]), 1.0, [1, 0])
    assert first.id == 1 and second == ScoredToken(2, pytest.approx(math.log(0.75)), ())
    assert first.log_prob == pytest.approx(math.log(0.25))
    assert first.alternatives == ((0, pytest.approx(math.log(0.5))),)


def test_scores_are_divided_by_the_models_temperature_and_rows_without_a_wish_get_nothing():
    nothing, second = score_tokens(LOGITS, np.array([0, 0]), 0.5, [None, 3])
    assert nothing is None and second.log_prob == pytest.approx(math.log(1 / 38))  # Of squares 1, 1 and 36.
    assert [token for token, _ in second.alternatives] == [2, 0, 1]
    assert score_tokens(LOGITS, np.array([0, 0]), 1.0, [None, None]) == [None, None]


def scored(text):
    """The tokens of a text, each with the log-probability -1."""
    return [ScoredToken(token, -1.0) for token in TOKENIZER.encode(text)]


def spelt(pieces):
    """The text of the entries of some pieces."""
    return b"".join(bytes(entry["bytes"]) for piece in pieces for entry in piece["content"]).decode()


def test_the_token_that_ends_an_answer_counts_and_is_not_sent():
    answer = AnswerLogProbs(TOKENIZER)
    tokens = [*scored("a ball"), ScoredToken(TOKENIZER.end_of_turn, -0.5)]
    piece = answer.take("a ball", tokens)
    assert spelt([piece]) == "a ball" and len(piece["content"]) == len(tokens) - 1
    assert answer.confidence == pytest.approx(math.exp(-(len(tokens) - 1) - 0.5))


def test_a_token_comes_with_the_piece_of_text_in_which_it_begins():
    answer, (first, *rest) = AnswerLogProbs(TOKENIZER), scored("\N{BILLIARDS}.")
    nothing = answer.take("", [first])  # The first byte of four.
    assert nothing == {"content": [], "refusal": None}
    whole = answer.take("\N{BILLIARDS}.", rest)
    assert spelt([whole]) == "\N{BILLIARDS}." and whole["content"][0]["bytes"] == [0xF0]
    assert whole["content"][0]["token"] == "\ufffd"


def test_tokens_that_a_stop_string_cut_off_count_and_are_not_sent():
    answer, tokens = AnswerLogProbs(TOKENIZER), scored("abc. xyz")
    piece = answer.take("abc", tokens)
    assert spelt([piece]) == "abc" and answer.confidence == pytest.approx(math.exp(-len(tokens)))


def test_a_control_token_among_the_alternatives_has_a_name_and_no_bytes():
    (token,) = scored("a")
    ends = token._replace(alternatives=((TOKENIZER.end_of_turn, -2.0),))
    (entry,) = AnswerLogProbs(TOKENIZER).take("a", [ends])["content"]
    assert entry["top_logprobs"] == [{"token": "<end_of_turn>", "bytes": None, "logprob": -2.0}]


def events(response):
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [json.loads(line)["choices"][0] for line in lines[:-1]]


def test_a_stream_has_the_log_probabilities_of_the_whole_answer(client):
    wish = {"logprobs": True, "top_logprobs": 2, "max_tokens": 12}
    whole = ask(client, **wish).json()["choices"][0]
    entries = whole["logprobs"]["content"]
    assert spelt([whole["logprobs"]]) == whole["message"]["content"]
    assert all(entry["top_logprobs"][0]["logprob"] == pytest.approx(entry["logprob"]) for entry in entries)  # Greedy.
    assert {len(entry["top_logprobs"]) for entry in entries} == {2} and 0 < whole["confidence"] < 1
    pieces = events(ask(client, stream=True, **wish))
    assert [entry for piece in pieces for entry in (piece["logprobs"] or {"content": []})["content"]] == entries
    assert pieces[-1]["confidence"] == whole["confidence"] and "confidence" not in pieces[0]
    for piece in pieces[1:-1]:
        assert piece["delta"]["content"].startswith(spelt([piece["logprobs"]])[:1])
    plain = ask(client, max_tokens=12).json()["choices"][0]
    assert plain["logprobs"] is None and "confidence" not in plain and plain["message"] == whole["message"]


def test_a_fitted_temperature_scales_what_is_sent(client, monkeypatch):
    before = ask(client, logprobs=True).json()["choices"][0]
    monkeypatch.setattr(client.engine.generator, "confidence_temperature", 0.25)
    after = ask(client, logprobs=True).json()["choices"][0]
    assert after["message"] == before["message"] and after["confidence"] > before["confidence"]


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"top_logprobs": 3}, "'top_logprobs' is 3, but needs 'logprobs': true; set both."),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs: input should be less than or equal to 20."),
    ],
)
def test_alternatives_need_log_probabilities_and_have_a_limit(client, wish, sentence):
    refused = ask(client, **wish)
    assert refused.status_code == 400 and refused.json()["error"]["message"].endswith(sentence)


def test_the_official_client_reads_them_whole_and_streamed(run):
    openai = pytest.importorskip("openai")
    with listening(run) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="any")
        wish = {"model": "small", "messages": [{"role": "user", "content": "what is hit?"}], "max_tokens": 8}
        scored = {**wish, "logprobs": True, "top_logprobs": 3}
        (whole,) = client.chat.completions.create(**scored).choices
        chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**scored, stream=True)]
    entries = whole.logprobs.content
    assert "".join(entry.token for entry in entries) == whole.message.content
    assert [len(entry.top_logprobs) for entry in entries] == [3] * len(entries)
    assert [entry for chunk in chunks if chunk.logprobs for entry in chunk.logprobs.content] == entries
    sent = math.exp(sum(entry.logprob for entry in entries))
    assert 0 < whole.confidence <= sent * (1 + 1e-6) and chunks[-1].confidence == whole.confidence
