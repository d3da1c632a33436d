"""SentencePiece's ``tokenizer.model`` in Gemma's layout as the ``tokenizer.json`` of Hugging Face's tokenizers.

Both cut text by byte-pair merges, told in two ways: SentencePiece gives every piece a score and joins the neighbours
whose piece has the best one; tokenizers lists the pairs in the order in which they are joined. Ids are those of
``data.gemma_tokenizer.GemmaTokenizer``: control tokens are found in the text as it is, pieces of the user (line breaks,
runs of spaces, ``<start_of_turn>``) after spaces have become ``\u2581``, as SentencePiece finds them.

Where one piece has several cuts that overlap in a text, SentencePiece joins the leftmost and tokenizers the one listed
first, as in the tokenizer.json that Google gives out; no text is known where it matters.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.gemma_tokenizer import END_OF_TURN, START_OF_TURN

# Kinds of pieces, numbered as in SentencePiece's file format.
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BYTE_PAIR_MODEL = 2
# How the file format frames a field: a number, eight bytes, a length and that many bytes, four bytes.
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class Piece(NamedTuple):
    """An entry of the vocabulary; its id is its place."""

    text: str
    score: float
    kind: int


def write_tokenizer(
    directory: Path, model: Path, max_length: int, extra: Mapping[str, int] | None = None, template: str | None = None
) -> None:
    """Writes ``tokenizer.json``, ``tokenizer_config.json`` and a copy of ``tokenizer.model``.

    Args:
      directory: An existing directory.
      model: The ``tokenizer.model``.
      max_length: Tokens that the model was made for.
      extra: Further tokens and their ids, such as ``<video>``.
      template: The chat template, in Jinja; it goes into ``chat_template.jinja``.

    Raises:
      DataError: The file is no byte-pair model in Gemma's manner.
    """
    content = model.read_bytes()
    whole = json.dumps(tokenizer_json(content, extra), ensure_ascii=False)
    (directory / "tokenizer.json").write_text(whole, encoding="utf-8")
    (directory / "tokenizer.model").write_bytes(content)
    write_object(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "padding_side": "left",
            "clean_up_tokenization_spaces": False,
            "model_max_length": max_length,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )
    if template is not None:
        (directory / "chat_template.jinja").write_text(template, encoding="utf-8")


def tokenizer_json(model: bytes, extra: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The object that ``tokenizer.json`` holds; a text is given ``<bos>``, as Gemma's own tokenizer gives it.

    Args:
      model: A ``tokenizer.model``.
      extra: Further tokens and their ids, above those of the pieces; the ids between may stay unused.

    Raises:
      DataError: It is no SentencePiece model, or one that tokenizers would read otherwise.
    """
    pieces = read_pieces(model)
    vocabulary = {piece.text: i for i, piece in enumerate(pieces)}
    extra = dict(extra or {})
    for token, i in extra.items():
        if token in vocabulary or i < len(pieces):
            raise DataError(
                f"the token '{token}' cannot have the id {i}: the tokenizer has {len(pieces)} pieces"
                f"{', this one among them' if token in vocabulary else ''}; take an id from {len(pieces)} on."
            )
    added = [
        _added(i, piece.text, piece.kind != _USER or piece.text in (START_OF_TURN, END_OF_TURN), piece.kind == _USER)
        for i, piece in enumerate(pieces)
        if piece.kind in (_CONTROL, _UNKNOWN, _USER)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added + [_added(i, token, True, False) for token, i in extra.items()],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": None,
        "post_processor": _begin_with("<bos>", vocabulary["<bos>"]),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary | extra,
            "merges": merges(pieces),
        },
    }


def merges(pieces: list[Piece]) -> list[tuple[str, str]]:
    """All pairs of pieces that make a piece, the best piece's first; cuts of one piece by the ids of their parts."""
    ids = {piece.text: i for i, piece in enumerate(pieces) if piece.kind == _NORMAL}
    found = []
    for text, i in ids.items():
        for cut in range(1, len(text)):
            left, right = ids.get(text[:cut]), ids.get(text[cut:])
            if left is not None and right is not None:
                found.append((-pieces[i].score, i, left, right))
    return [(pieces[left].text, pieces[right].text) for *_, left, right in sorted(found)]


def read_pieces(model: bytes) -> list[Piece]:
    """Reads the vocabulary out of a ``tokenizer.model``, without its library.

    Raises:
      DataError: It is no SentencePiece model, no byte-pair one, or changes texts in another way than Gemma's.
    """
    pieces: list[Piece] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    try:
        for number, value in _fields(model):
            if number == 1:
                fields = dict(_fields(value))
                (score,) = struct.unpack("<f", fields.get(2, b"\0\0\0\0"))
                pieces.append(Piece(fields[1].decode(), score, fields.get(3, _NORMAL)))
            elif number == 2:
                trainer = dict(_fields(value))
            elif number == 3:
                normalizer = dict(_fields(value))
    except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise DataError(
            f"the tokenizer is no SentencePiece model ({len(model)} bytes); give a tokenizer.model."
        ) from error
    _check(pieces, trainer, normalizer)
    return pieces


def _check(pieces: list[Piece], trainer: Mapping[int, Any], normalizer: Mapping[int, Any]) -> None:
    """Raises a DataError for what tokenizers would do otherwise."""
    kinds = {piece.kind for piece in pieces}
    faults = {
        "it has no pieces": not pieces,
        "it is no byte-pair model": trainer.get(3, 1) != _BYTE_PAIR_MODEL,
        "it writes spaces after words": trainer.get(24, 0),
        "it has unused pieces": _UNUSED in kinds,
        "it does not spell unknown characters in bytes": sum(piece.kind == _BYTE for piece in pieces) != 256,
        "it normalises characters": normalizer.get(2, b""),
        "it begins texts with a space": normalizer.get(3, 1),
        "it removes spaces": normalizer.get(4, 1),
        "it keeps spaces as they are": not normalizer.get(5, 1),
        "it has no piece <bos>": all(piece.text != "<bos>" for piece in pieces),
    }
    if found := [fault for fault, true in faults.items() if true]:
        raise DataError(f"the tokenizer is not Gemma's: {'; '.join(found)}. It cannot be written as tokenizer.json.")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protocol buffer's fields: int for numbers, bytes for all else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, frame = key >> 3, key & 7
        if frame == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if frame == _BYTES:
            size, at = _varint(message, at)
        elif frame in (_EIGHT, _FOUR):
            size = 8 if frame == _EIGHT else 4
        else:
            raise ValueError(f"fields are not framed by {frame}")
        if at + size > len(message):
            raise ValueError("the last field is cut")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where the next field begins."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _added(i: int, token: str, special: bool, normalized: bool) -> dict[str, Any]:
    """A token that is found in a text before it is cut into pieces."""
    return {
        "id": i,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": normalized,
        "special": special,
    }


def _begin_with(token: str, i: int) -> dict[str, Any]:
    """Puts a token in front of every text."""
    special, first, second = ({"SpecialToken": {"id": token, "type_id": n}} for n in (0, 0, 1))
    a, b = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [special, a],
        "pair": [first, a, second, b],
        "special_tokens": {token: {"id": token, "ids": [i], "tokens": [token]}},
    }
