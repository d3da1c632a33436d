"""The goldens' small tokenizer, for the tests of what stands on it."""

import pathlib

from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer

PATH = pathlib.Path(__file__).parents[2] / "goldens" / "tiny_gemma_tokenizer.model"
TOKENIZER = GemmaTokenizer(PATH)
