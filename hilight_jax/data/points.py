"""Reads annotated places of things in frames of videos, as annotation tools write them.

| file | format |
|---|---|
| ``points.json`` | ``{"VIDEO": [{"word": "the red ball", "frame": 29, "x": 541, "y": 178}, ...]}`` |
| ``annotations.xml`` | CVAT 1.1, of videos (tracks) and of images; boxes and points |
| ``instances.json`` | COCO: ``images``, ``annotations`` with ``bbox``, ``categories`` |
| a folder | YOLO: one ``.txt`` a picture, with ``classes.txt``, ``obj.names`` or ``data.yaml`` |

In ``points.json`` a place may also have ``ball`` or ``label`` in the place of ``word``, and ``radius``. A picture is
one of a file, or, where its name is that of a video with a number behind it (``shot_000029.jpg``), that frame of the
video.
"""

import math
import pathlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from PIL import Image, ImageOps

from hilight_jax.core.errors import DataError
from hilight_jax.data.annotation_files import VIDEO_SUFFIXES, read_json, read_text
from hilight_jax.data.video import VideoError, decode

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_NUMBERED = re.compile(r"(?P<stem>.+?)[._-](?:frame[._-]?)?(?P<number>\d+)$")


class Place(NamedTuple):
    """The place of a thing in a frame.

    Attributes:
      file: A video or a picture.
      frame: Number of the frame, from 0; 0 of a picture.
      word: What it is, in words, such as "the red ball".
      x: Pixels from the left edge of the picture as it is shown.
      y: Pixels from its top edge.
      reach: Half of its width and of its height, pixels; None where only its middle is known.
    """

    file: pathlib.Path
    frame: int
    word: str
    x: float
    y: float
    reach: tuple[float, float] | None = None


def open_places(path: str, videos: str = "", words: str = "") -> list[Place]:
    """Reads annotated places, in the order of their files and frames.

    Args:
      path: A file or a folder in one of the formats above.
      videos: Folder of the videos or pictures; by default the annotation's own.
      words: Words for labels, such as ``red=the red ball|cue=the cue ball``; a label without any is read as it stands.

    Raises:
      DataError: Something cannot be read; the message names the file and the place in it.
    """
    place = pathlib.Path(path)
    folder = pathlib.Path(videos) if videos else (place if place.is_dir() else place.parent)
    if not place.exists():
        raise DataError(f"'{path}' does not exist; name a file or a folder of annotated places.")
    if place.is_dir():
        found = _yolo(place, folder)
    elif place.suffix.lower() == ".xml":
        found = _cvat(place, folder)
    else:
        content = read_json(path)
        if not isinstance(content, Mapping):
            raise DataError(f"{path} holds no JSON object; it must map the names of videos to lists of places.")
        found = _coco(content, path, folder) if "annotations" in content else _own(content, path, folder)
    named = _named(words)
    read = [each._replace(word=named.get(each.word, _in_words(each.word))) for each in found]
    if not read:
        raise DataError(f"{path} names no place of anything.")
    return sorted(read, key=lambda each: (str(each.file), each.frame))


def _own(content: Mapping[str, Any], path: str, folder: pathlib.Path) -> Iterator[Place]:
    for name, places in content.items():
        file = _file(folder, name, path)
        if not isinstance(places, list):
            raise DataError(f"{path}, '{name}': must be a list of places, not {places!r:.40}.")
        for number, entry in enumerate(places, 1):
            where = f"{path}, '{name}', place {number}"
            if not isinstance(entry, Mapping):
                raise DataError(f"{where}: must be an object with word, frame, x and y, not {entry!r:.40}.")
            label = next((entry[key] for key in ("word", "label", "ball") if entry.get(key)), None)
            if not isinstance(label, str):
                raise DataError(f"{where}: 'word' must say what is there, such as 'the red ball'.")
            reach = None
            if entry.get("radius") is not None:
                reach = (_number(entry, "radius", where),) * 2
                if reach[0] <= 0:
                    raise DataError(f"{where}: 'radius' is {reach[0]:g}; it must be above 0, in pixels.")
            x, y = (_number(entry, key, where) for key in "xy")
            frame = _frame(entry.get("frame", 0), where)
            if frame and file.suffix.lower() in PICTURE_SUFFIXES:
                raise DataError(f"{where}: 'frame' is {frame}, but {file.name} is a picture; leave the frame out.")
            yield Place(file, frame, label, x, y, reach)


def _coco(content: Mapping[str, Any], path: str, folder: pathlib.Path) -> Iterator[Place]:
    try:
        images = {image["id"]: image["file_name"] for image in content["images"]}
        labels = {category["id"]: category["name"] for category in content["categories"]}
        boxes = [(entry["image_id"], entry["category_id"], entry["bbox"]) for entry in content["annotations"]]
        named = (*images.values(), *labels.values())
        known = {(image, category) for image in images for category in labels}
        unknown = [pair[:2] not in known for pair in boxes]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is no COCO file of boxes: {error} is missing or of another kind.") from error
    if wrong := [name for name in named if not isinstance(name, str)]:
        raise DataError(f"{path} is no COCO file of boxes: {wrong[0]!r:.40} is no name of an image or a category.")
    for number, (image, category, box) in enumerate(boxes, 1):
        where = f"{path}, annotation {number}"
        if unknown[number - 1]:
            raise DataError(f"{where}: there is no image {image!r} or no category {category!r}.")
        file, frame = _picture(folder, images[image], path)
        yield _box(file, frame, labels[category], _four(box, where), where)


def _cvat(path: pathlib.Path, folder: pathlib.Path) -> Iterator[Place]:
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, OSError) as error:
        raise DataError(f"{path} is not XML ({error}).") from error
    for track in root.findall("track"):
        name = next((node.text for node in root.iter("source") if node.text), None)
        if name is None:
            raise DataError(f"{path} has tracks, but does not name its video (<source>).")
        file = _file(folder, name, str(path))
        for shape in track:
            if shape.get("outside") != "1":
                where = f"{path}, track {track.get('id')}, frame {shape.get('frame')}"
                frame = _frame(shape.get("frame"), where)
                yield from _shape(file, frame, track.get("label") or "", shape, where)
    for image in root.findall("image"):
        file, frame = _picture(folder, image.get("name") or "", str(path))
        for shape in image:
            where = f"{path}, image '{image.get('name')}'"
            yield from _shape(file, frame, shape.get("label") or "", shape, where)


def _shape(file: pathlib.Path, frame: int, label: str, shape: ElementTree.Element, where: str) -> Iterator[Place]:
    """A CVAT box, or each of its points; other shapes are no places."""
    if shape.tag == "box":
        left, top, right, bottom = (_number(shape.attrib, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
        yield _box(file, frame, label, (left, top, right - left, bottom - top), where)
    elif shape.tag == "points":
        for pair in (shape.get("points") or "").split(";"):
            try:
                x, y = map(float, pair.split(","))
            except ValueError as error:
                raise DataError(f"{where}: '{pair}' is no point; write x,y.") from error
            yield Place(file, frame, label, x, y)


def _yolo(path: pathlib.Path, folder: pathlib.Path) -> Iterator[Place]:
    labels = _yolo_labels(path)
    listing = ("classes.txt", "obj.names", "train.txt", "val.txt", "test.txt")
    for file in sorted(path.rglob("*.txt")):
        lines = read_text(str(file)).split("\n")
        if file.name in listing or file.name.lower().startswith("readme") or not any(map(str.strip, lines)):
            continue
        picture, frame = _picture(folder, file.stem, str(file))
        width, height = _size(picture)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            try:
                kind, *shares = line.split()
                x, y, w, h = (float(share) for share in shares[:4])
                label = labels[int(kind)]
                if len(shares) > 5 or int(kind) < 0 or not all(map(math.isfinite, (x, y, w, h))):
                    raise ValueError
            except (ValueError, IndexError) as error:
                raise DataError(
                    f"{where}: must be a class, x, y, width and height as shares of the picture, and perhaps a "
                    f"confidence, not '{line:.60}'."
                ) from error
            box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
            yield _box(picture, frame, label, box, where)


def _yolo_labels(path: pathlib.Path) -> list[str]:
    """The names of the classes, in their order."""
    for name in ("classes.txt", "obj.names"):
        if (path / name).is_file():
            return [line.strip() for line in read_text(str(path / name)).split("\n") if line.strip()]
    for file in sorted(path.glob("*.yaml")):
        text = read_text(str(file))
        if match := re.search(r"^names:\s*\[(?P<names>[^\]]*)\]", text, re.MULTILINE):
            return [name.strip().strip("'\"") for name in match["names"].split(",")]
        listed = re.search(r"^names:\s*\n(?P<names>(?:\s+(?:-|\d+:).*\n?)+)", text, re.MULTILINE)
        if listed:
            lines = listed["names"].strip().split("\n")
            return [re.sub(r"^\s*(?:-|\d+:)\s*", "", line).strip().strip("'\"") for line in lines]
    raise DataError(f"'{path}' has no classes.txt, obj.names or data.yaml that names its classes.")


def _box(file: pathlib.Path, frame: int, label: str, box: tuple[float, float, float, float], where: str) -> Place:
    left, top, width, height = box
    if width <= 0 or height <= 0:
        raise DataError(f"{where}: a box of {width:g} x {height:g} pixels shows nothing.")
    return Place(file, frame, label, left + width / 2, top + height / 2, (width / 2, height / 2))


def _file(folder: pathlib.Path, name: str, where: str) -> pathlib.Path:
    """The file of a name that may lack its suffix."""
    for suffix in ("", *VIDEO_SUFFIXES, *PICTURE_SUFFIXES):
        if (file := folder / f"{name}{suffix}").is_file():
            return file
    raise DataError(f"{where} names '{name}', which is not in '{folder}'; say where the videos are with videos=DIR.")


def _picture(folder: pathlib.Path, name: str, where: str) -> tuple[pathlib.Path, int]:
    """The picture of a name, or the video and the number of the frame that the name is made of."""
    stem = re.sub(rf"({'|'.join(map(re.escape, PICTURE_SUFFIXES))})$", "", name, flags=re.IGNORECASE)
    for candidate in (name, *(f"{stem}{suffix}" for suffix in PICTURE_SUFFIXES)):
        if (folder / candidate).is_file():
            return folder / candidate, 0
    match = _NUMBERED.match(stem)
    if match is None:
        return _file(folder, name, where), 0
    return _file(folder, match["stem"], where), int(match["number"])


def _size(picture: pathlib.Path) -> tuple[int, int]:
    """Columns and rows of a picture, or of a video's frames."""
    if picture.suffix.lower() in PICTURE_SUFFIXES:
        try:
            with Image.open(picture) as image:
                return ImageOps.exif_transpose(image).size
        except OSError as error:
            raise DataError(f"{picture} is no picture that can be read ({error}).") from error
    try:
        (first,) = decode(str(picture), lambda _: [0])
    except VideoError as error:
        raise DataError(f"{picture}: {error}") from error
    return first.shape[1], first.shape[0]


def _named(words: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in words.split("|") if pair]
    if wrong := [label for label, sign, word in pairs if not sign or not word]:
        raise DataError(f"words has '{wrong[0]}' without a word; write words=red=the red ball|cue=the cue ball.")
    return {label: word for label, _, word in pairs}


def _in_words(label: str) -> str:
    """Reads ``ball:red`` and ``red_ball`` as "the red ball"."""
    kind, _, name = label.rpartition(":")
    text = " ".join(re.sub(r"[_\-.]+", " ", f"{name} {kind}" if kind else name).split())
    return text if text.lower().startswith("the ") else f"the {text}"


def _four(box: Any, where: str) -> tuple[float, float, float, float]:
    real = isinstance(box, list) and all(isinstance(x, int | float) and math.isfinite(x) for x in box)
    if not real or len(box) != 4:
        raise DataError(f"{where}: 'bbox' must be left, top, width and height, not {box!r:.60}.")
    left, top, width, height = map(float, box)
    return left, top, width, height


def _number(entry: Mapping[str, Any], key: str, where: str) -> float:
    try:
        number = float(entry[key])
        if not math.isfinite(number):
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: '{key}' must be a number, not {entry.get(key)!r:.40}.") from error
    return number


def _frame(value: Any, where: str) -> int:
    try:
        frame = int(value)
        if frame != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: 'frame' must be a whole number, not {value!r:.40}.") from error
    if frame < 0:
        raise DataError(f"{where}: 'frame' is {frame}; frames are counted from 0.")
    return frame
