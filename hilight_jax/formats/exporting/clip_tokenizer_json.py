"""CLIP's byte-pair vocabulary as the ``tokenizer.json`` of Hugging Face's tokenizers.

Ids are those of ``data.tokenizers.ClipTokenizer``. Its repair (ftfy) and unescaping (HTML) of texts are written out as
far as the library allows: text in a wrong encoding and HTML's rarer escapes are left as they are. After punctuation
without a space a literal ``<|endoftext|>`` is the end token here, but not there.
"""

import json
import unicodedata
from pathlib import Path
from typing import Any

from hilight_jax.core.atomic_files import write_object
from hilight_jax.data.tokenizers import END_ID, START_ID, vocabulary

_START, _END = "<|startoftext|>", "<|endoftext|>"
# HTML's escapes, at most doubly escaped; then what ftfy drops: terminal colours and control characters.
_MENDING = (
    ("&(amp;)+", "&"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", '"'),
    ("&(#0?39|#x27|apos);", "'"),
    ("&(nbsp|#160);", " "),
    (r"\x1b\[[\d;]*[A-Za-z]", ""),
    (r"[\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]", ""),
)
# The one letter whose small form depends on its place, which tokenizers' ``Lowercase`` ignores.
_LAST_SIGMA = r"(?<=[\p{Lu}\p{Ll}])Σ(?!'?[\p{Lu}\p{Ll}])"
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def write_clip_tokenizer(directory: Path, max_length: int) -> None:
    """Writes ``tokenizer.json`` and ``tokenizer_config.json``; padding is OpenAI's, id 0."""
    (directory / "tokenizer.json").write_text(json.dumps(clip_tokenizer(), ensure_ascii=False), encoding="utf-8")
    write_object(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": _START,
            "eos_token": _END,
            "unk_token": _END,
            "pad_token": "!",
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
            "model_max_length": max_length,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )


def clip_tokenizer() -> dict[str, Any]:
    """The parsed ``tokenizer.json``."""
    ids, ranks = vocabulary()
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token, **special} for token, i in ((_START, START_ID), (_END, END_ID))],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                *({"type": "Replace", "pattern": {"Regex": find}, "content": put} for find, put in _MENDING),
                *(
                    {"type": "Replace", "pattern": {"String": find}, "content": put}
                    for find, put in folded_characters().items()
                ),
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": "[\u02bc\u2018-\u201b]"}, "content": "'"},
                {"type": "Replace", "pattern": {"Regex": "[\u201c-\u201f]"}, "content": '"'},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Replace", "pattern": {"Regex": _LAST_SIGMA}, "content": "ς"},
                {"type": "Lowercase"},
            ],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": _WORD}, "behavior": "Removed", "invert": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": _START, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": _END, "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                _START: {"id": _START, "ids": [START_ID], "tokens": [_START]},
                _END: {"id": _END, "ids": [END_ID], "tokens": [_END]},
            },
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "</w>"}, "content": "Ġ"},  # A space, as a byte's character.
                {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                {"type": "Strip", "content": " ", "start": 0, "stop": 1},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": _END,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": ids,
            "merges": [list(pair) for pair in sorted(ranks, key=ranks.__getitem__)],
        },
    }


def folded_characters() -> dict[str, str]:
    """The characters that ftfy replaces: ligatures and digraphs, and letters of full or half width."""
    ranges = ((0x132, 0x134), (0x149, 0x14A), (0x1C4, 0x1CD), (0x1F1, 0x1F4), (0xFB00, 0xFB07), (0xFF01, 0xFFF0))
    characters = [chr(code) for start, end in ranges for code in range(start, end)]
    spelt = {character: unicodedata.normalize("NFKC", character) for character in characters} | {"\ufb05": "\u017ft"}
    return {character: text for character, text in spelt.items() if text != character}
