import pickle

import pytest
import sentencepiece

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.gemma_tokenizer import BOS_ID, EOS_ID, GemmaTokenizer, train_tokenizer
from tests.data.conversations.tiny_gemma import PATH, TOKENIZER

TEXTS = ["the red ball drops in the top left pocket", "which ball is potted first? the 3-ball", "it stays on the table"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(TEXTS, 400, path)
    return path


@pytest.mark.parametrize(("literal", "index"), [("<pad>", 0), ("<eos>", 1), ("<bos>", 2), ("<unk>", 3)])
def test_a_literal_control_token_is_that_token(literal, index):
    before, after = TOKENIZER.encode("a "), TOKENIZER.encode(" b")
    assert TOKENIZER.encode(f"a {literal} b") == [*before, index, *after]


def test_bos_is_there_when_asked_for():
    assert TOKENIZER.encode("", bos=True) == [BOS_ID] and TOKENIZER.encode("") == []
    assert TOKENIZER.encode("What", bos=True)[1:] == TOKENIZER.encode("What")


def test_decoding_gives_the_text_back_without_control_tokens():
    text = "The ball: 12 > 9,\n\n  né 😀?"
    ids = TOKENIZER.encode(f"<start_of_turn>model\n{text}<end_of_turn>\n<eos>", bos=True)
    assert TOKENIZER.decode(ids) == f"model\n{text}\n"
    assert TOKENIZER.decode(ids, keep_control=True) == f"<bos><start_of_turn>model\n{text}<end_of_turn>\n<eos>"


def test_rows_that_are_no_piece_decode_to_nothing():
    ids = TOKENIZER.encode("a ball")
    assert TOKENIZER.decode([-200, *ids, -100, TOKENIZER.vocab_size, 255999]) == "a ball"


def test_an_answer_stops_at_the_end_of_a_turn_or_of_the_text():
    assert TOKENIZER.stop_ids == (EOS_ID, *TOKENIZER.encode("<end_of_turn>"))


def test_it_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(TOKENIZER)).encode("What is this?<eos>") == TOKENIZER.encode("What is this?<eos>")


def test_a_trained_tokenizer_has_gemmas_layout(trained):
    tokenizer = GemmaTokenizer(trained)
    turn = tokenizer.encode("<start_of_turn>user\n\nred<end_of_turn>\n<eos>")
    assert turn[0] == tokenizer.start_of_turn == 5 and turn[-1] == EOS_ID and tokenizer.end_of_turn == 6
    assert tokenizer.encode("\n") == [7] and tokenizer.encode("\n\n") == [8]
    assert 300 < tokenizer.vocab_size <= 400


def test_a_trained_tokenizer_is_lossless_and_knows_frequent_words(trained):
    tokenizer = GemmaTokenizer(trained)
    for text in [*TEXTS, "  två spaces,\ttab and\n日本語 10-ball"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("the ball")) == 2


def test_training_again_gives_the_same_file_in_silence(trained, tmp_path, capfd):
    train_tokenizer(TEXTS, 400, tmp_path / "again.model")
    assert (tmp_path / "again.model").read_bytes() == trained.read_bytes()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("texts", "size"), [([], 400), (["", "\n "], 400), (TEXTS, 280)])
def test_too_little_to_train_on_is_refused(tmp_path, texts, size):
    with pytest.raises(DataError, match=rf"a tokenizer of {size} pieces cannot be trained on \d lines of text"):
        train_tokenizer(texts, size, tmp_path / "tokenizer.model")


def test_a_missing_empty_or_foreign_file_is_a_sentence(tmp_path):
    cases = {"missing": None, "empty": b"", "text": b"{'model': 'gemma'}\n" * 9, "cut": PATH.read_bytes()[:500]}
    expected = {
        "missing": "does not exist",
        "empty": "is empty",
        "text": "is no SentencePiece",
        "cut": "is no Sentence",
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.model"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=expected[name]) as failure:
            GemmaTokenizer(path)
        assert str(path) in str(failure.value) and "comes with its weights" in str(failure.value)
    with pytest.raises(DataError, match="is no file"):
        GemmaTokenizer(tmp_path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "piece 0 is '<unk>' where Gemma has '<pad>'"),
        ({"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3}, "it has no piece '<start_of_turn>'"),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(tmp_path, options, sentence):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(tmp_path / "other"),
        vocab_size=40,
        hard_vocab_limit=False,
        eos_piece="<eos>",
        bos_piece="<bos>",
        minloglevel=2,
        **options,
    )
    with pytest.raises(DataError, match=sentence):
        GemmaTokenizer(tmp_path / "other.model")
