"""Opens any source of conversations by its specification, ``KIND:PATH[,OPTION=VALUE...]``.

questions:data/demo-v1/1.0.0/train,turns=3,two_clips=0.1   questions about clips stored by ``hilight_jax.generate``
hilight:train.json,videos=DIR                              HiLight's and LLaVA's conversations
video_instruct:VideoInstruct100K.json,videos=DIR           VideoInstruct-100K
valley:valley_train.json,videos=DIR                        Valley's pretraining and instruction files
"""

from collections.abc import Callable
from typing import NoReturn, Protocol

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.clip_questions import ClipQuestions
from hilight_jax.data.conversations.conversation import Conversation
from hilight_jax.data.conversations.files import open_hilight, open_valley, open_video_instruct
from hilight_jax.data.sources import open_by_kind


class ConversationSource(Protocol):
    """Conversations by number. ``name`` is the specification that opens it again, for messages and reports."""

    name: str

    def __len__(self) -> int:
        """Returns the number of conversations."""
        ...

    def conversation(self, index: int, rng: np.random.Generator | None) -> Conversation:
        """Returns conversation ``index``: in a form drawn by ``rng``, or without one in the form that is evaluated."""
        ...


KINDS: dict[str, Callable[..., ConversationSource]] = {
    "questions": ClipQuestions,
    "hilight": open_hilight,
    "video_instruct": open_video_instruct,
    "valley": open_valley,
}


def open_conversations(specification: str) -> ConversationSource:
    """Opens a source of conversations.

    Raises:
      DataError: The kind or an option is unknown, the path is missing, or the file is not of this kind (entry named).
    """
    return open_by_kind(specification, KINDS, _refuse)


def holds_conversations(specification: str) -> bool:
    """Returns True if a specification names one of ``KINDS``, not a source of clips with captions."""
    return specification.partition(":")[0] in KINDS


def _refuse(path: str) -> NoReturn:
    raise DataError(f"'{path}' does not say what it holds: write KIND:{path} with KIND out of {', '.join(KINDS)}.")
