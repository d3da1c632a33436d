"""Opens any source of videos and texts by its specification, ``KIND:PATH[,OPTION=VALUE...]`` or only a path.

tfds:data/demo-v1/1.0.0/train                   clips stored by ``python -m hilight_jax.generate``
manifest:clips.jsonl                            a user's own JSON-lines manifest
clip_vip:msrvtt/train.jsonl,videos=DIR          CLIP-ViP's retrieval annotations
msrvtt:MSRVTT_data.json,videos=DIR,split=test   MSR-VTT, json or csv
"""

import inspect
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from hilight_jax.core.errors import DataError, nearest
from hilight_jax.data.manifest import open_manifest, read_text
from hilight_jax.data.records import Source
from hilight_jax.data.retrieval_files import open_clip_vip, open_msrvtt, read_json
from hilight_jax.data.stored_clips import StoredSource, is_stored_dataset

KINDS: dict[str, Callable[..., Source]] = {
    "tfds": StoredSource,
    "manifest": open_manifest,
    "clip_vip": open_clip_vip,
    "msrvtt": open_msrvtt,
}


def open_source(specification: str) -> Source:
    """Opens a source; a path alone is recognised by its suffix and content.

    Raises:
      DataError: The kind or an option is unknown, the path is missing, or an annotation is wrong (file and line named).
    """
    return open_by_kind(specification, KINDS, _recognise)


def open_by_kind(specification: str, kinds: Mapping[str, Callable[..., Any]], recognise: Callable[[str], str]) -> Any:
    """Opens the source that ``KIND:PATH[,OPTION=VALUE...]`` names.

    Args:
      specification: As the user wrote it; becomes the ``name`` of what was opened.
      kinds: For each kind the function that opens it, by path and options.
      recognise: Finds the kind of a path that stands alone.

    Raises:
      DataError: The kind or an option is unknown, or whatever the functions raise.
    """
    kind, path, options = _parse(specification, kinds)
    kind = kind or recognise(path)
    if kind not in kinds:
        raise DataError(
            f"'{kind}' in '{specification}' is no kind of source; kinds: {', '.join(kinds)}.{nearest(kind, kinds)}"
        )
    allowed = list(inspect.signature(kinds[kind]).parameters)[1:]
    for option in options:
        if option not in allowed:
            raise DataError(
                f"'{option}' in '{specification}' is no option of {kind}; options: {', '.join(allowed) or 'none'}."
                f"{nearest(option, allowed)}"
            )
    source = kinds[kind](path, **options)
    source.name = specification
    return source


def is_missing(specification: str) -> bool:
    """Returns True if the file or dataset directory that a specification names does not exist."""
    kind, path, _ = _parse(specification)
    if kind in ("tfds", "questions") or (not kind and not pathlib.Path(path).exists()):
        return not is_stored_dataset(path.rstrip("/").rpartition("/")[0])
    return not pathlib.Path(path).exists()


def same_file(specification: str, other: str) -> bool:
    """Returns True if two specifications read the same file or dataset split, whatever their options."""
    first, second = (pathlib.Path(_parse(each)[1]).resolve() for each in (specification, other))
    return first == second


def _parse(specification: str, kinds: Mapping[str, Any] = KINDS) -> tuple[str, str, dict[str, str]]:
    head, *options = specification.split(",")
    kind, colon, path = head.partition(":")
    if not colon:
        kind, path = "", head
    if not path:
        raise DataError(
            f"the source '{specification}' names no path; write KIND:PATH with KIND out of {', '.join(kinds)}."
        )
    for option in options:
        if "=" not in option:
            raise DataError(f"'{option}' in '{specification}' must have the form OPTION=VALUE.")
    return kind, path, dict(option.split("=", 1) for option in options)


def _recognise(path: str) -> str:
    """Finds the kind of a source from its path and the beginning of its content."""
    suffix = pathlib.Path(path).suffix
    if suffix == ".jsonl":
        first = next((line for line in read_text(path).split("\n") if line.strip()), "")
        return "clip_vip" if '"clip_id"' in first else "manifest"
    if suffix == ".csv":
        return "msrvtt"
    if suffix == ".json":
        return "msrvtt" if isinstance(read_json(path), dict) else "clip_vip"
    if is_stored_dataset(path.rstrip("/").rpartition("/")[0]):
        return "tfds"
    raise DataError(
        f"'{path}' is not recognised as a source: give a stored dataset's DIRECTORY/SPLIT, a .jsonl, .json or .csv "
        f"file, or write KIND:PATH with KIND out of {', '.join(KINDS)}."
    )
