"""Opens any source of conversations by its specification, ``KIND:PATH[,OPTION=VALUE...]``.

questions:data/demo-v1/1.0.0/train,turns=3,two_clips=0.1   questions about clips stored by ``hilight_jax.generate``
hilight:train.json,videos=DIR                              HiLight's and LLaVA's conversations
video_instruct:VideoInstruct100K.json,videos=DIR           VideoInstruct-100K
valley:valley_train.json,videos=DIR                        Valley's pretraining and instruction files

Annotation files name their clips; ``videos`` is the directory with the files (default: the annotation file's own). A
name that ends with ``.pkl`` is a pickled clip, as HiLight stores them. Opening a file checks that it holds a list; an
entry that cannot be read becomes a conversation with a ``fault``, which is refused when it is used
(``data/conversations/checks.py``).
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.annotation_files import number_repeats, read_json, refuse_misspelled, required, video_path
from hilight_jax.data.conversations.clip_questions import ClipQuestions
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Conversation, PickledClip, Turn
from hilight_jax.data.sources import open_by_kind
from hilight_jax.data.video import Video

_ROLES = {"human": "user", "gpt": "model"}  # Another name stays as it is, and is refused when it is used.
_IMAGE_MARK = "<image>"
_KEYS = ("video", "image", "conversations")


class ConversationSource(Protocol):
    """Conversations by number. ``name`` is the specification that opens it again, for messages and reports."""

    name: str

    def __len__(self) -> int:
        """Returns the number of conversations."""
        ...

    def conversation(self, index: int, rng: np.random.Generator | None) -> Conversation:
        """Returns conversation ``index``: in a form drawn by ``rng``, or without one in the form that is evaluated."""
        ...


class Entry(NamedTuple):
    """One conversation of a file, or its fault; ``folder`` names a folder of its clips inside the directory of all."""

    id: str
    clips: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    folder: str = ""
    fault: str = ""


class ConversationFile:
    """A source of conversations read from one file; they have the same form in training and evaluation."""

    def __init__(self, name: str, entries: list[Entry], videos: pathlib.Path):
        """Keeps ``entries``; an id that occurs again is given a number."""
        if not entries:
            raise DataError(f"{name} lists no conversations.")
        self.name, self._videos = name, videos
        self._entries = number_repeats(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def conversation(self, index: int, rng: np.random.Generator | None) -> Conversation:
        """Returns conversation ``index``."""
        entry = self._entries[index]
        clips = tuple(self._clip(name, entry.folder) for name in entry.clips)
        return Conversation(entry.id, clips, entry.turns, fault=entry.fault)

    def _clip(self, name: str, folder: str) -> Video | PickledClip:
        """Returns the file of a clip: in its folder if that exists, else in the directory of all clips."""
        directory = self._videos / folder if folder and os.path.isdir(self._videos / folder) else self._videos
        if name.endswith(".pkl"):
            return PickledClip(str(directory / name))
        return str(directory / name) if os.path.isfile(directory / name) else video_path(directory, name)


def open_hilight(path: str, videos: str = "") -> ConversationFile:
    r"""Reads HiLight's conversations, or LLaVA's, from a ``.json`` file: a list of objects such as::

        {"id": "1", "video": "a.pkl", "conversations": [{"from": "human", "value": "<video>\nWhat happens?"},
                                                        {"from": "gpt", "value": "The red ball drops."}]}

    ``video`` may be a list of several names, or be left out in a conversation without a clip. LLaVA's ``image``
    is a clip of one frame, and its mark ``<image>`` that of a clip.
    """  # noqa: D415

    def read(name: str, entry: Mapping[str, Any], where: str) -> Entry:
        return Entry(name, _names(entry, where), _turns(entry, where))

    return ConversationFile(f"hilight:{path}", _entries(path, ("id",), read), _directory(path, videos))


def open_video_instruct(path: str, videos: str = "") -> ConversationFile:
    """Reads VideoInstruct-100K: a list of ``{"q": question, "a": answer, "video_id": "v_..."}``, one turn each.

    The clips are named by their ids (ActivityNet's).
    """

    def read(name: str, entry: Mapping[str, Any], where: str) -> Entry:
        question, answer, video_id = (required(entry, key, str, where) for key in ("q", "a", "video_id"))
        turns = (Turn("user", f"{VIDEO_MARK}\n{question}"), Turn("model", answer))
        return Entry(name, (video_id,), turns)

    return ConversationFile(f"video_instruct:{path}", _entries(path, ("video_id",), read), _directory(path, videos))


def open_valley(path: str, videos: str = "") -> ConversationFile:
    """Reads Valley's files: HiLight's form, with ``v_id`` in place of ``id`` and, in the instruction file, ``source``.

    They are ``chat.json``, ``Valley_instruct_73k.json`` and HiLight's ``valley_train.json``; ``videos`` holds the
    clips, or the folders that ``source`` names (``webvid``, ``jukin``, ...).
    """

    def read(name: str, entry: Mapping[str, Any], where: str) -> Entry:
        folder = required(entry, "source", str, where) if "source" in entry else ""
        return Entry(name, _names(entry, where), _turns(entry, where), folder)

    return ConversationFile(f"valley:{path}", _entries(path, ("v_id", "id"), read), _directory(path, videos))


def _directory(path: str, videos: str) -> pathlib.Path:
    return pathlib.Path(videos or pathlib.Path(path).parent)


def _entries(path: str, id_keys: tuple[str, ...], read: Callable[[str, Mapping[str, Any], str], Entry]) -> list[Entry]:
    """Reads every entry; its id is under the first of ``id_keys`` that it has, or else its number."""
    listed = read_json(path)
    if not isinstance(listed, list):
        raise DataError(f"{path} is no file of conversations: it must hold a list of objects.")
    entries = []
    for number, entry in enumerate(listed, 1):
        name, where = str(number), f"entry {number}"
        try:
            if not isinstance(entry, dict):
                raise DataError(f"{where} must be an object, not {entry!r:.60}.")
            name = next((str(entry[key]) for key in id_keys if key in entry), name)
            entries.append(read(name, entry, where))
        except DataError as error:
            entries.append(Entry(name, fault=str(error)))
    return entries


def _names(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Returns the names of an entry's clips; an image is a clip of one frame."""
    refuse_misspelled(entry, _KEYS, where)
    given = {key: entry[key] for key in ("video", "image") if entry.get(key) not in (None, "", [])}
    if len(given) == 2:
        raise DataError(
            f"{where} has both a 'video' and an 'image'; list both files under 'video', in the order of their marks."
        )
    for key, names in given.items():
        names = (names,) if isinstance(names, str) else names
        if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{where}: '{key}' must be a file name or a list of file names, not {names!r:.60}.")
        return tuple(names)
    return ()


def _turns(entry: Mapping[str, Any], where: str) -> tuple[Turn, ...]:
    said = required(entry, "conversations", list, where)
    if not all(isinstance(turn, dict) for turn in said):
        raise DataError(
            f"{where}: 'conversations' must be a list of objects with 'from' and 'value', not {said!r:.60}."
        )
    turns = []
    for turn in said:
        role, text = required(turn, "from", str, where), required(turn, "value", str, where)
        turns.append(Turn(_ROLES.get(role, role), text.replace(_IMAGE_MARK, VIDEO_MARK)))
    return tuple(turns)


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
