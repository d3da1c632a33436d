"""Writes the data that an exported model finds the words of its conversations with, see ``models/word_tracks.py``.

```
words.json       the vocabularies of both tokenizers and the word lists
phrases.py       finds phrases in token ids: a copy of ``data/conversations/phrases.py``
phrase_ids.py    writes phrases in CLIP's ids
```
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilight_jax.data.conversations import phrases
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.conversations.words import PHRASE_LENGTH, finding_rules
from hilight_jax.data.language_mask import ABSTRACT_WORDS, FUNCTION_WORDS
from hilight_jax.data.tokenizers import vocabulary
from hilight_jax.formats.exporting.clip_tokenizer_json import folded_characters

WORDS = "words.json"
CODE = (Path(phrases.__file__), Path(__file__).parent / "remote_code" / "phrase_ids.py")


def write_words(directory: Path, things: Sequence[str], tokenizer: GemmaTokenizer, video_id: int) -> None:
    """Writes ``words.json``; ``video_id`` stands for rows of clips in the export's ids."""
    content = json.dumps(words_json(things, tokenizer, video_id), ensure_ascii=False)
    (directory / WORDS).write_text(content, encoding="utf-8")


def copy_code(directory: Path) -> None:
    """Copies the code."""
    for file in CODE:
        shutil.copyfile(file, directory / file.name)


def words_json(things: Sequence[str], tokenizer: GemmaTokenizer, video_id: int) -> dict[str, Any]:
    """The rules of ``phrases.PhraseFinder`` and of ``remote_code/phrase_ids.py``.

    ``pieces`` are the bytes that each id of the language model stands for, a character for each byte.
    """
    ids, ranks = vocabulary()
    return finding_rules(tokenizer, things) | {
        "video_id": video_id,
        "pieces": [tokenizer.surface(i).decode("latin-1") for i in range(tokenizer.vocab_size)],
        "phrase_length": PHRASE_LENGTH,
        "empty_words": sorted(FUNCTION_WORDS | ABSTRACT_WORDS),
        "clip_alphabet": "".join(list(ids)[:256]),
        "clip_merges": [" ".join(pair) for pair in sorted(ranks, key=ranks.__getitem__)],
        "clip_folded": folded_characters(),
    }
