"""Gemma's tokenizer: a user's own SentencePiece ``tokenizer.model``, or a small one with Gemma's layout, trained here.

The project ships no Gemma tokenizer; Google distributes it with the weights. Ids are those of Hugging Face's
``GemmaTokenizer``: a literal ``<eos>`` in a text becomes the token, where SentencePiece alone would spell it out.
"""

import io
import pathlib
import re
from collections.abc import Iterable

import sentencepiece

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.conversation import ROLES

PAD_ID, EOS_ID, BOS_ID, UNK_ID = range(4)
START_OF_TURN, END_OF_TURN = "<start_of_turn>", "<end_of_turn>"
# Pieces that structure a sequence; a text that holds one would be read as structure.
CONTROL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", START_OF_TURN, END_OF_TURN)
_LAYOUT = {"<pad>": PAD_ID, "<eos>": EOS_ID, "<bos>": BOS_ID, "<unk>": UNK_ID}
_WHERE_FROM = "Gemma's tokenizer.model comes with its weights (Hugging Face or Kaggle, after accepting the licence)"


class GemmaTokenizer:
    """Text to ids and back; can be sent to worker processes.

    Attributes:
      vocab_size: Number of pieces; every id is below it.
      start_of_turn: Id of ``<start_of_turn>``.
      end_of_turn: Id of ``<end_of_turn>``.
      stop_ids: Ids that end an answer: ``<eos>``, and ``<end_of_turn>``, which only ``<eos>`` follows.
    """

    def __init__(self, path: str | pathlib.Path):
        """Reads a ``tokenizer.model``.

        Raises:
          DataError: The file is missing, is not a SentencePiece model, or lacks Gemma's control tokens.
        """
        self._pieces = _read(pathlib.Path(path))
        for piece, index in _LAYOUT.items():
            if self._pieces.piece_to_id(piece) != index or self._pieces.id_to_piece(index) != piece:
                raise DataError(
                    f"{path} is not Gemma's tokenizer: piece {index} is '{self._pieces.id_to_piece(index)}' where "
                    f"Gemma has '{piece}'; {_WHERE_FROM}."
                )
        self.vocab_size = self._pieces.vocab_size()
        self.start_of_turn, self.end_of_turn = (self._turn_token(path, piece) for piece in (START_OF_TURN, END_OF_TURN))
        self.stop_ids = (EOS_ID, self.end_of_turn)
        self._surfaces: dict[int, bytes] = {}
        structural = [i for i in range(self.vocab_size) if self._pieces.is_control(i) or self._pieces.is_unknown(i)]
        self._literals = {self._pieces.id_to_piece(i): i for i in structural}
        longest_first = sorted(self._literals, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Returns the ids of a text, after ``<bos>`` if asked; literal control tokens become their ids."""
        ids = [BOS_ID] if bos else []
        for part in self._split.split(text):
            if part in self._literals:
                ids.append(self._literals[part])
            elif part:
                ids += self._pieces.encode(part)
        return ids

    def decode(self, ids: Iterable[int], keep_control: bool = False) -> str:
        """Returns the text of some ids; half a character at the end decodes to U+FFFD.

        Args:
          ids: Ids; those outside the vocabulary (video rows, ignored labels, rows of a larger table) are left out.
          keep_control: True spells control tokens out; False leaves them out, as answers are shown.
        """
        left_out = () if keep_control else (*self._literals.values(), self.start_of_turn, self.end_of_turn)
        texts, run = [], []
        for i in map(int, ids):
            if not 0 <= i < self.vocab_size or i in left_out:
                continue
            if i in self._literals.values():
                texts += [self._pieces.decode(run), self._pieces.id_to_piece(i)]
                run = []
            else:
                run.append(i)
        return "".join([*texts, self._pieces.decode(run)])

    def surface(self, index: int) -> bytes:
        """The bytes of a text that an id stands for; none for control tokens and ids outside the vocabulary."""
        if index not in self._surfaces:
            self._surfaces[index] = self._surface(index)
        return self._surfaces[index]

    def _surface(self, index: int) -> bytes:
        if not 0 <= index < self.vocab_size or self._pieces.is_control(index) or self._pieces.is_unknown(index):
            return b""
        piece = self._pieces.id_to_piece(index)
        if self._pieces.is_byte(index):
            return bytes([int(piece[3:-1], 16)])
        return piece.replace("\u2581", " ").encode()

    def _turn_token(self, path: str | pathlib.Path, piece: str) -> int:
        index = self._pieces.piece_to_id(piece)
        if index == UNK_ID:
            raise DataError(f"{path} is not Gemma's tokenizer: it has no piece '{piece}'; {_WHERE_FROM}.")
        return index


def train_tokenizer(texts: Iterable[str], vocab_size: int, path: str | pathlib.Path) -> None:
    """Trains a small byte-pair SentencePiece model with Gemma's layout and writes it; the same texts, the same file.

    As Gemma's: identity normaliser, no dummy prefix, digits split, bytes for characters outside the texts, and the
    pieces ``<mask>``, ``<start_of_turn>``, ``<end_of_turn>``, newlines and runs of spaces from id 4 on. The names of
    the roles, which every turn begins with, become pieces too. Lines of more than some thousand characters are ignored.
    The model has ``vocab_size`` pieces at most, about 300 of them fixed (bytes and control tokens); fewer where the
    texts give fewer.

    Raises:
      DataError: ``vocab_size`` has no room for the fixed pieces and the characters of the texts, or there is no text.
    """
    fixed = ["<mask>", START_OF_TURN, END_OF_TURN, "\n", "\n\n", "\n\n\n", "\u2581\u2581", "\u2581\u2581\u2581"]
    lines = [line for text in texts for line in text.split("\n") if line.strip()]
    num_needed = len(_LAYOUT) + len(fixed) + 256 + len(set("".join(lines).replace(" ", "\u2581")))
    if not lines or vocab_size < num_needed:
        raise DataError(
            f"a tokenizer of {vocab_size} pieces cannot be trained on {len(lines)} lines of text: control tokens, "
            f"bytes and single characters alone take {num_needed}; raise the vocabulary size or give more text."
        )
    lines += [*ROLES] * len(lines)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        pad_id=PAD_ID,
        eos_id=EOS_ID,
        bos_id=BOS_ID,
        unk_id=UNK_ID,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        user_defined_symbols=fixed,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_digits=True,
        byte_fallback=True,
        character_coverage=1.0,
        num_threads=1,
        shuffle_input_sentence=False,
        minloglevel=2,
    )
    pathlib.Path(path).write_bytes(model.getvalue())


def _read(path: pathlib.Path) -> sentencepiece.SentencePieceProcessor:
    """Opens a SentencePiece model; raises a ``DataError`` if it cannot be opened."""
    if not path.is_file():
        raise DataError(f"the tokenizer {path} does not exist or is no file; {_WHERE_FROM}.")
    content = path.read_bytes()
    if not content:
        raise DataError(f"the tokenizer {path} is empty (0 bytes); {_WHERE_FROM}.")
    pieces = sentencepiece.SentencePieceProcessor()
    try:
        pieces.LoadFromSerializedProto(content)
    except RuntimeError as error:
        raise DataError(f"{path} is no SentencePiece model ({len(content)} bytes); {_WHERE_FROM}.") from error
    if pieces.vocab_size() < len(CONTROL_TOKENS):
        raise DataError(f"{path} is not Gemma's tokenizer: it has {pieces.vocab_size()} pieces; {_WHERE_FROM}.")
    return pieces
