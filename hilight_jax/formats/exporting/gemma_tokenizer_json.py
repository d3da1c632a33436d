"""SentencePiece's ``tokenizer.model`` in Gemma's layout as the ``tokenizer.json`` of Hugging Face's tokenizers.

Both cut text by byte-pair merges, written in two ways: SentencePiece gives every piece a score and joins the neighbours
whose piece has the best one; tokenizers lists the pairs in the order in which they are joined. Ids are those of
``GemmaTokenizer``: control tokens are found in the text as it is, pieces of the user (line breaks, runs of spaces,
``<start_of_turn>``) after spaces have become ``\u2581``, as SentencePiece finds them.

Where one piece has several cuts that overlap in a text, SentencePiece joins the leftmost and tokenizers the one listed
first, as in the tokenizer.json that Google gives out; no text is known where it matters.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec  # pyright: ignore[reportAttributeAccessIssue]

from hilight_jax.core.atomic_files import write_object
from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.gemma_tokenizer import END_OF_TURN, START_OF_TURN

SentencePiece = ModelProto.SentencePiece


def write_tokenizer(
    directory: Path, model: Path, max_length: int, extra: Mapping[str, int] | None = None, template: str | None = None
) -> None:
    """Writes ``tokenizer.json``, ``tokenizer_config.json`` and a copy of ``tokenizer.model``.

    ``extra`` are further tokens and their ids, such as ``<video>``; the chat ``template`` goes into
    ``chat_template.jinja``.

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

    ``extra`` are further tokens and their ids, above those of the pieces; the ids between may stay unused.

    Raises:
      DataError: It is no SentencePiece model, or one that tokenizers would read otherwise.
    """
    pieces = read_model(model).pieces
    vocabulary = {piece.piece: i for i, piece in enumerate(pieces)}
    extra = dict(extra or {})
    for token, i in extra.items():
        if token in vocabulary or i < len(pieces):
            raise DataError(
                f"the token '{token}' cannot have the id {i}: the tokenizer has {len(pieces)} pieces"
                f"{', this one among them' if token in vocabulary else ''}; take an id from {len(pieces)} on."
            )
    user, structural = SentencePiece.USER_DEFINED, (SentencePiece.CONTROL, SentencePiece.UNKNOWN)
    added = [
        _added(i, x.piece, x.type != user or x.piece in (START_OF_TURN, END_OF_TURN), x.type == user)
        for i, x in enumerate(pieces)
        if x.type in (user, *structural)
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


def merges(pieces: Sequence[SentencePiece]) -> list[tuple[str, str]]:
    """All pairs of pieces that make a piece, the best piece's first; cuts of one piece by the ids of their parts."""
    ids = {x.piece: i for i, x in enumerate(pieces) if x.type == SentencePiece.NORMAL}
    found = []
    for text, i in ids.items():
        for cut in range(1, len(text)):
            left, right = ids.get(text[:cut]), ids.get(text[cut:])
            if left is not None and right is not None:
                found.append((-pieces[i].score, i, left, right))
    return [(pieces[left].piece, pieces[right].piece) for *_, left, right in sorted(found)]


def read_model(content: bytes) -> ModelProto:
    """Reads a ``tokenizer.model``; its field ``pieces`` is the vocabulary in the order of the ids.

    Raises:
      DataError: It is no SentencePiece model, no byte-pair one, or changes texts in another way than Gemma's.
    """
    try:
        model = ModelProto.FromString(content)
        texts = [piece.piece for piece in model.pieces]
        if not all(isinstance(text, str) and text for text in texts):  # Bytes that are no UTF-8 stay bytes.
            raise DecodeError("a piece is no text")
    except DecodeError as error:
        raise DataError(
            f"the tokenizer is no SentencePiece model ({len(content)} bytes); give a tokenizer.model."
        ) from error
    normalizer, kinds = model.normalizer_spec, [piece.type for piece in model.pieces]
    faults = {
        "it has no pieces": not texts,
        "it is no byte-pair model": model.trainer_spec.model_type != TrainerSpec.BPE,
        "it writes spaces after words": model.trainer_spec.treat_whitespace_as_suffix,
        "it has unused pieces": SentencePiece.UNUSED in kinds,
        "it does not spell unknown characters in bytes": kinds.count(SentencePiece.BYTE) != 256,
        "it normalises characters": normalizer.precompiled_charsmap,
        "it begins texts with a space": normalizer.add_dummy_prefix,
        "it removes spaces": normalizer.remove_extra_whitespaces,
        "it keeps spaces as they are": not normalizer.escape_whitespaces,
        "it has no piece <bos>": "<bos>" not in texts,
    }
    if found := [fault for fault, true in faults.items() if true]:
        raise DataError(f"the tokenizer is not Gemma's: {'; '.join(found)}. It cannot be written as tokenizer.json.")
    return model


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
