import json
import random
import struct

import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer, train_tokenizer
from hilight_jax.formats.exporting.gemma_tokenizer_json import (
    SentencePiece,
    merges,
    read_model,
    tokenizer_json,
    write_tokenizer,
)
from tests.data.conversations.tiny_gemma import PATH, TOKENIZER

PARTS = [
    *("the ", "red", " ball", "ball ball", "potted", "aa", "aaa", "aba", "ss", "1234", ".", "!?"),
    *("\n", "\n\n\n\n", "  ", "    ", "\t", "\r\n", "\u00a0", "\u2581", "\u2581\u2581"),
    *("<eos>", "<bos>", "<pad>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", "<0x41>"),
    *("é", "e\u0301", "日本", "😀"),
]


def texts(count=300, seed=0):
    """Pieces of words, spaces, line breaks, control tokens and foreign letters in any order."""
    rng = random.Random(seed)
    letters = "abcdefghilmnoprstu "
    for _ in range(count):
        yield "".join(rng.choice(PARTS if rng.random() < 0.6 else letters) for _ in range(rng.randrange(30)))


def converted(path, **extra):
    tokenizers = pytest.importorskip("tokenizers")
    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(path.read_bytes(), extra)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(["the red ball drops in the top left pocket", "which ball is potted first? the 3-ball"], 400, path)
    return path


@pytest.mark.parametrize("which", ["golden", "trained"])
def test_ids_and_texts_are_those_of_our_tokenizer(which, trained):
    path = PATH if which == "golden" else trained
    ours, theirs = GemmaTokenizer(path), converted(path)
    for text in texts():
        ids = ours.encode(text, bos=True)
        assert theirs.encode(text).ids == ids, text
        assert theirs.encode(text, add_special_tokens=False).ids == ids[1:]
        assert theirs.decode(ids) == ours.decode(ids)
        assert theirs.decode(ids, skip_special_tokens=False) == ours.decode(ids, keep_control=True)


def test_a_further_token_cuts_the_text_and_may_leave_ids_unused():
    number = TOKENIZER.vocab_size + 8
    theirs = converted(PATH, **{"<video>": number})
    ids = theirs.encode("a <video> ball<video>", add_special_tokens=False).ids
    assert ids == [*TOKENIZER.encode("a "), number, *TOKENIZER.encode(" ball"), number]


def test_a_further_token_cannot_take_a_pieces_place():
    with pytest.raises(DataError, match="'<video>' cannot have the id 5: the tokenizer has 640 pieces"):
        tokenizer_json(PATH.read_bytes(), {"<video>": 5})
    with pytest.raises(DataError, match="'<mask>' cannot have the id 700.*this one among them"):
        tokenizer_json(PATH.read_bytes(), {"<mask>": 700})


def test_the_vocabulary_is_that_of_the_library(trained):
    import sentencepiece

    library = sentencepiece.SentencePieceProcessor(model_file=str(trained))
    pieces = read_model(trained.read_bytes()).pieces
    assert [piece.piece for piece in pieces] == [library.id_to_piece(i) for i in range(library.vocab_size())]
    assert [piece.score for piece in pieces] == [library.get_score(i) for i in range(library.vocab_size())]


def test_pairs_of_better_pieces_come_first_and_only_known_halves_make_pairs():
    scores = {"a": -9, "b": -10, "ab": -1, "aab": -0.5, "xyz": 0}
    pieces = [SentencePiece(piece=text, score=score) for text, score in scores.items()]
    assert merges(pieces) == [("a", "ab"), ("a", "b")]


def _field(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no model at all", "no SentencePiece model"),
        (PATH.read_bytes()[:-1], "no SentencePiece model"),
        (_field(1, _field(1, b"\xff")), "no SentencePiece model"),
        (_field(1, b""), "no SentencePiece model"),
        (b"", "it has no pieces"),
        (_field(1, _field(1, b"a") + b"\x15" + struct.pack("<f", -1)), "it is no byte-pair model"),
    ],
)
def test_what_is_not_gemmas_is_refused(content, why):
    with pytest.raises(DataError, match=why):
        tokenizer_json(content)


def test_transformers_reads_the_directory(tmp_path):
    transformers = pytest.importorskip("transformers")
    write_tokenizer(tmp_path, PATH, 512, {"<video>": 640}, "{{ messages[0]['content'] }}")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs("a ball").input_ids == TOKENIZER.encode("a ball", bos=True)
    assert (theirs.pad_token_id, theirs.eos_token_id, theirs.bos_token_id) == (0, 1, 2)
    assert theirs.padding_side == "left" and theirs.model_max_length == 512
    assert theirs.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"
    assert (tmp_path / "tokenizer.model").read_bytes() == PATH.read_bytes()
