"""Conversations from the field's annotation files: HiLight's and LLaVA's, VideoInstruct-100K's and Valley's.

All of them name their clips; ``videos`` is the directory with the files (default: the annotation file's own). A name
that ends with ``.pkl`` is a pickled clip, as HiLight stores them. What a file as a whole must look like is checked when
it is opened, each conversation when it is used (``data/conversation_checks.py``).
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversation import VIDEO_MARK, Conversation, PickledClip, Turn
from hilight_jax.data.manifest import number_repeats, required
from hilight_jax.data.retrieval_files import read_json, video_path
from hilight_jax.data.video import Video

_ROLES = {"human": "user", "gpt": "model"}  # Another name stays as it is, and is refused when it is used.
_IMAGE_MARK = "<image>"


class Entry(NamedTuple):
    """One conversation of a file; ``folder`` of the directory of all clips may hold its own."""

    id: str
    clips: tuple[str, ...]
    turns: tuple[Turn, ...]
    folder: str = ""


class ConversationFile:
    """A source whose conversations were all read from one file; they have one form, in training and evaluation."""

    def __init__(self, name: str, entries: list[Entry], videos: pathlib.Path):
        """Keeps ``entries``; an id that occurs again is given a number."""
        if not entries:
            raise DataError(f"{name} lists no conversations.")
        self.name, self._videos = name, videos
        ids = number_repeats([entry.id for entry in entries])
        self._entries = [entry._replace(id=entry_id) for entry, entry_id in zip(entries, ids, strict=True)]

    def __len__(self) -> int:
        return len(self._entries)

    def conversation(self, index: int, rng: np.random.Generator | None) -> Conversation:
        """Returns conversation ``index``."""
        entry = self._entries[index]
        return Conversation(entry.id, tuple(self._clip(name, entry.folder) for name in entry.clips), entry.turns)

    def _clip(self, name: str, folder: str) -> Video | PickledClip:
        """The place of a clip: in its folder if that is there, else in the directory of all clips."""
        directory = self._videos / folder if folder and (self._videos / folder).is_dir() else self._videos
        if name.endswith(".pkl"):
            return PickledClip(str(directory / name))
        return str(directory / name) if (directory / name).is_file() else video_path(directory, name)


def open_hilight(path: str, videos: str = "") -> ConversationFile:
    r"""Reads HiLight's conversations, or LLaVA's: a list of objects such as::

        {"id": "1", "video": "a.pkl", "conversations": [{"from": "human", "value": "<video>\nWhat happens?"},
                                                        {"from": "gpt", "value": "The red ball drops."}]}

    ``video`` may be a list of several names, or be left out when a conversation is about words alone. LLaVA's ``image``
    is a clip of one frame, and its mark ``<image>`` that of a clip.

    Args:
      path: The ``.json`` file.
      videos: Directory of the clips.
    """  # noqa: D415
    entries = [
        Entry(str(entry.get("id", number)), _names(entry, where), _turns(entry, where))
        for number, (where, entry) in enumerate(_objects(path), 1)
    ]
    return ConversationFile(f"hilight:{path}", entries, _directory(path, videos))


def open_video_instruct(path: str, videos: str = "") -> ConversationFile:
    """Reads VideoInstruct-100K: a list of ``{"q": question, "a": answer, "video_id": "v_..."}``, one turn each.

    Args:
      path: ``VideoInstruct100K.json``.
      videos: Directory of the clips, named by their ids (ActivityNet's).
    """
    entries = []
    for where, entry in _objects(path):
        question, answer, video_id = (required(entry, key, str, where) for key in ("q", "a", "video_id"))
        turns = (Turn("user", f"{VIDEO_MARK}\n{question}"), Turn("model", answer))
        entries.append(Entry(video_id, (video_id,), turns))
    return ConversationFile(f"video_instruct:{path}", entries, _directory(path, videos))


def open_valley(path: str, videos: str = "") -> ConversationFile:
    """Reads Valley's files: HiLight's form, with ``v_id`` in place of ``id`` and, in the instruction file, ``source``.

    Args:
      path: ``chat.json``, ``Valley_instruct_73k.json`` or HiLight's ``valley_train.json``.
      videos: Directory of the clips, or of the folders that ``source`` names (``webvid``, ``jukin``, ...).
    """
    entries = []
    for number, (where, entry) in enumerate(_objects(path), 1):
        name = str(entry.get("v_id", entry.get("id", number)))
        folder = required(entry, "source", str, where) if "source" in entry else ""
        entries.append(Entry(name, _names(entry, where), _turns(entry, where), folder))
    return ConversationFile(f"valley:{path}", entries, _directory(path, videos))


def _directory(path: str, videos: str) -> pathlib.Path:
    return pathlib.Path(videos or pathlib.Path(path).parent)


def _objects(path: str) -> list[tuple[str, Mapping[str, Any]]]:
    entries = read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path} is no file of conversations: it must hold a list of objects.")
    return [(f"{path}, entry {number}", entry) for number, entry in enumerate(entries, 1)]


def _names(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The clips of an entry; images count."""
    names = entry.get("video", entry.get("image")) or ()
    names = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, list) else names
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: 'video' must be a file name or a list of file names, not {names!r:.60}.")
    return names


def _turns(entry: Mapping[str, Any], where: str) -> tuple[Turn, ...]:
    said = required(entry, "conversations", list, where)
    if not all(isinstance(turn, dict) for turn in said):
        raise DataError(
            f"{where}: 'conversations' must be a list of objects with 'from' and 'value', not {said!r:.60}."
        )
    mark = _IMAGE_MARK if "image" in entry and "video" not in entry else VIDEO_MARK
    turns = []
    for turn in said:
        role, text = required(turn, "from", str, where), required(turn, "value", str, where)
        turns.append(Turn(_ROLES.get(role, role), text.replace(mark, VIDEO_MARK)))
    return tuple(turns)
