"""Checks conversations before the template and the splice, and refuses those that the original silently mishandles.

The original trains a conversation that ends with a question, or whose text holds ``<eos>``, with no label at all; an
answer that begins with a newline with its labels one off; and one clip where the text marks two. It ignores a clip that
the text never mentions.
"""

from collections.abc import Sequence

from hilight_jax.data.conversations.conversation import (
    ROLES,
    VIDEO_MARK,
    Conversation,
    ConversationError,
    TooLong,
    Turn,
)
from hilight_jax.data.conversations.gemma_tokenizer import CONTROL_TOKENS, GemmaTokenizer
from hilight_jax.data.conversations.prompts import ANSWER_START, expand, fit_context, prompt_ids, training_example


def check_conversation(
    conversation: Conversation, tokenizer: GemmaTokenizer | None, num_video_tokens: int, max_length: int
) -> None:
    """Checks a conversation for training. A model turn at the very beginning is dropped by the template.

    A conversation that is too long is accepted: ``prompts.fit_context`` cuts off its end and reports the cut. Without a
    tokenizer the checks of tokens (merged newlines, the length) are left out. One clip has ``num_video_tokens`` rows,
    which ``max_length``, the tokens that the context holds, counts.

    Raises:
      ConversationError: The conversation cannot be used.
    """
    if conversation.fault:
        raise ConversationError(conversation.fault)
    turns = conversation.turns
    check_words(turns)
    asked = turns[1:] if turns and turns[0].role == "model" else turns
    _check_order(asked)
    if asked[-1].role == "user":
        raise ConversationError("it ends with a question, so there is no answer to learn; answer it or take it out.")
    for k, turn in enumerate(asked[1::2], 1):
        if not turn.text.strip():
            raise ConversationError(f"answer {k} is empty; write one, or take the question out too.")
        if turn.text.startswith("\n"):
            raise ConversationError(
                f"answer {k} begins with a newline, which would merge with the template's; take it out."
            )
    _check_marks(asked, len(conversation.videos))
    num_answers = sum(turn.role == "model" for turn in turns)
    if conversation.types and len(conversation.types) != num_answers:
        raise ConversationError(
            f"it has {len(conversation.types)} question types for {num_answers} answers; give one per answer, '' where "
            "unknown, or none."
        )
    if tokenizer is not None:
        _check_tokens(asked, len(conversation.videos), tokenizer, num_video_tokens, max_length)


def check_prompt(
    turns: Sequence[Turn],
    num_videos: int,
    tokenizer: GemmaTokenizer,
    num_video_tokens: int,
    max_length: int,
    max_new_tokens: int = 1,
) -> None:
    """Checks a conversation that the model is to continue.

    User and model speak in turn, the user last; each ``<video>`` mark stands for the next of ``num_videos`` clips.
    ``max_length`` counts the V = ``num_video_tokens`` rows of each clip and the answer's ``max_new_tokens``.

    Raises:
      ConversationError: The prompt cannot be answered; ``TooLong`` if only its length is wrong.
    """
    check_words(turns)
    _check_order(turns)
    if turns[-1].role != "user":
        raise ConversationError("its last turn is the model's, so there is nothing to answer; end with a question.")
    _check_marks(turns, num_videos)
    length = len(expand(prompt_ids(turns, tokenizer), None, num_video_tokens)[0])
    if length + max_new_tokens > max_length:
        raise TooLong(
            f"its {length} tokens ({num_videos * num_video_tokens} of them video) and {max_new_tokens} of the answer "
            f"do not fit into the context of {max_length}; start anew, or give fewer clips or a shorter answer."
        )


def check_words(turns: Sequence[Turn]) -> None:
    """Checks every turn by itself.

    Raises:
      ConversationError: A role is unknown, a text holds a control token, or an answer shows a clip.
    """
    for i, turn in enumerate(turns, 1):
        if turn.role not in ROLES:
            raise ConversationError(f"turn {i} has the role '{turn.role}'; roles: {', '.join(ROLES)}.")
        if not isinstance(turn.text, str):
            raise ConversationError(f"the text of turn {i} is a {type(turn.text).__name__}, not a string.")
        found = [token for token in CONTROL_TOKENS if token in turn.text]
        if found:
            raise ConversationError(
                f"the text of turn {i} holds '{found[0]}', which would be read as the end of a text or turn; spell it "
                "another way."
            )
        if any(0xD800 <= ord(character) <= 0xDFFF for character in turn.text):
            raise ConversationError(f"the text of turn {i} holds half a character (a surrogate); mend its encoding.")
        if turn.role == "model" and VIDEO_MARK in turn.text:
            raise ConversationError(
                f"turn {i} is an answer with the mark {VIDEO_MARK}; only a question can show a clip, so take it out."
            )


def _check_order(turns: Sequence[Turn]) -> None:
    """Checks that user and model alternate and that every question has words."""
    if not turns:
        raise ConversationError("it is empty: it has no question; give at least one turn of the user.")
    if len(turns) > 1 and len({turn.role for turn in turns}) == 1:
        raise ConversationError(
            f"it is one-sided: all its {len(turns)} turns are the {turns[0].role}'s; user and model take turns."
        )
    for i, turn in enumerate(turns):
        if turn.role != ROLES[i % 2]:
            raise ConversationError(
                f"turn {i + 1} is the {turn.role}'s where the {ROLES[i % 2]}'s is due; user and model take turns, the "
                "user first."
            )
        if turn.role == "user" and not turn.text.replace(VIDEO_MARK, "").strip():
            raise ConversationError(f"question {i // 2 + 1} is empty; write what is asked.")


def _check_marks(turns: Sequence[Turn], num_videos: int) -> None:
    num_marks = sum(turn.text.count(VIDEO_MARK) for turn in turns)
    if num_marks != num_videos:
        raise ConversationError(
            f"it has {num_marks} {VIDEO_MARK} {'mark' if num_marks == 1 else 'marks'} for {num_videos} "
            f"{'video' if num_videos == 1 else 'videos'}; write one mark per video, in the question that shows it."
        )


def _check_tokens(
    turns: Sequence[Turn], num_videos: int, tokenizer: GemmaTokenizer, num_video_tokens: int, max_length: int
) -> None:
    for k, turn in enumerate(turns[1::2], 1):
        if tokenizer.encode(ANSWER_START + turn.text) != tokenizer.encode(ANSWER_START) + tokenizer.encode(turn.text):
            raise ConversationError(
                f"answer {k} begins with {turn.text[:8]!r}, which the tokenizer merges with the template's newline, so "
                "that its labels would be one off; begin it otherwise."
            )
    example = training_example(turns, num_videos, tokenizer)
    fit_context(*expand(*example, num_video_tokens), max_length)
