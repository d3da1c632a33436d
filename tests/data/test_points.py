"""Annotated places in every format, of videos and pictures that are there."""

import json

import numpy as np
import pytest
from PIL import Image

from hilight_jax.billiards.encoding import encode_video
from hilight_jax.core.errors import DataError
from hilight_jax.data.points import open_places

CVAT_VIDEO = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><source>shot.mp4</source></task></meta>
  <track id="0" label="red_ball"><box frame="2" outside="0" occluded="0" xtl="10" ytl="20" xbr="30" ybr="30"/>
    <box frame="3" outside="1" occluded="0" xtl="0" ytl="0" xbr="5" ybr="5"/></track>
  <track id="1" label="cue"><points frame="1" outside="0" points="7.5,8.5"/></track>
</annotations>"""
CVAT_IMAGES = """<annotations><image id="0" name="shot_000002.jpg" width="64" height="48">
  <box label="red" xtl="10" ytl="20" xbr="30" ybr="30"/><points label="red" points="1,2;3,4"/>
  <polygon label="cloth" points="0,0;1,1;2,2"/></image></annotations>"""
COCO = {
    "images": [{"id": 5, "file_name": "still.png"}, {"id": 6, "file_name": "shot_frame_2.jpg"}],
    "categories": [{"id": 1, "name": "red ball"}],
    "annotations": [
        {"image_id": 5, "category_id": 1, "bbox": [10, 20, 20, 10]},
        {"image_id": 6, "category_id": 1, "bbox": [0, 0, 4, 4]},
    ],
}


@pytest.fixture
def folder(tmp_path):
    """A folder with a video of four frames and a picture, both of 64 x 48 px."""
    frames = np.zeros((4, 48, 64, 3), np.uint8)
    (tmp_path / "shot.mp4").write_bytes(encode_video(frames, fps=4))
    Image.fromarray(frames[0]).save(tmp_path / "still.png")
    return tmp_path


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def rows(places):
    return [(p.file.name, p.frame, p.word, p.x, p.y, p.reach) for p in places]


def test_own_points_by_word_label_or_ball(folder):
    places = [
        {"word": "the red ball", "frame": 3, "x": 5, "y": 6, "at": "pocket"},
        {"ball": "ball:cue", "frame": 1, "x": 7.5, "y": 8, "radius": 4},
        {"label": "blue_ball", "frame": 1, "x": 1, "y": 2},
    ]
    assert rows(open_places(write(folder, "points.json", {"shot": places}))) == [
        ("shot.mp4", 1, "the cue ball", 7.5, 8.0, (4.0, 4.0)),
        ("shot.mp4", 1, "the blue ball", 1.0, 2.0, None),
        ("shot.mp4", 3, "the red ball", 5.0, 6.0, None),
    ]


def test_cvat_tracks_of_a_video_without_the_frames_in_which_the_thing_is_gone(folder):
    path = write(folder, "annotations.xml", CVAT_VIDEO)
    assert rows(open_places(path, words="cue=the cue ball")) == [
        ("shot.mp4", 1, "the cue ball", 7.5, 8.5, None),
        ("shot.mp4", 2, "the red ball", 20.0, 25.0, (10.0, 5.0)),
    ]


def test_cvat_images_and_all_of_their_points_but_no_polygons(folder):
    found = rows(open_places(write(folder, "annotations.xml", CVAT_IMAGES), words="red=the red ball"))
    assert found == [
        ("shot.mp4", 2, "the red ball", 20.0, 25.0, (10.0, 5.0)),
        ("shot.mp4", 2, "the red ball", 1.0, 2.0, None),
        ("shot.mp4", 2, "the red ball", 3.0, 4.0, None),
    ]


def test_coco_boxes_of_pictures_and_of_frames(folder):
    assert rows(open_places(write(folder, "instances.json", COCO))) == [
        ("shot.mp4", 2, "the red ball", 2.0, 2.0, (2.0, 2.0)),
        ("still.png", 0, "the red ball", 20.0, 25.0, (10.0, 5.0)),
    ]


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("classes.txt", "cue ball\nred ball\n"),
        ("obj.names", "cue ball\nred ball"),
        ("data.yaml", "nc: 2\nnames: ['cue ball', \"red ball\"]\n"),
        ("data.yaml", "names:\n  0: cue ball\n  1: red ball\nnc: 2\n"),
        ("data.yaml", "names:\n  - cue ball\n  - red ball\n"),
    ],
)
def test_yolo_folders_with_any_list_of_classes(folder, name, classes):
    write(folder, f"labels/{name}", classes)
    write(folder, "labels/train/still.txt", "1 0.5 0.5 0.25 0.5\n")
    write(folder, "labels/train/shot_2.txt", "0 0.25 0.25 0.125 0.125 0.9\n\n")
    assert rows(open_places(str(folder / "labels"), videos=str(folder))) == [
        ("shot.mp4", 2, "the cue ball", 16.0, 12.0, (4.0, 3.0)),
        ("still.png", 0, "the red ball", 32.0, 24.0, (8.0, 12.0)),
    ]


def test_videos_lie_elsewhere(folder, tmp_path):
    path = write(tmp_path / "else", "points.json", {"shot.mp4": [{"word": "red", "frame": 0, "x": 1, "y": 1}]})
    assert open_places(path, videos=str(folder))[0].file == folder / "shot.mp4"
    with pytest.raises(DataError, match=r"names 'shot.mp4', which is not in '.*else'; .* videos=DIR"):
        open_places(path)


def point(**changes):
    return {"shot": [{"word": "the red ball", "frame": 0, "x": 1, "y": 2, **changes}]}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("points.json", point(x="left"), r"'shot', place 1: 'x' must be a number, not 'left'"),
        ("points.json", point(frame=-1), r"'frame' is -1; frames are counted from 0"),
        ("points.json", point(frame="soon"), r"'frame' must be a whole number, not 'soon'"),
        ("points.json", point(frame=2.7), r"'frame' must be a whole number, not 2.7"),
        ("points.json", point(frame=float("inf")), r"'frame' must be a whole number, not inf"),
        ("points.json", point(x=float("nan")), r"'x' must be a number, not nan"),
        ("points.json", point(radius=0), r"'radius' is 0; it must be above 0"),
        ("points.json", {"still.png": [{"word": "red", "frame": 1, "x": 1, "y": 1}]}, r"still.png is a picture"),
        ("points.json", point(word=None), r"'word' must say what is there"),
        ("points.json", {"shot": {"x": 1}}, r"'shot': must be a list of places"),
        ("points.json", {"shot": [3]}, r"place 1: must be an object with word, frame, x and y, not 3"),
        ("points.json", {}, r"names no place of anything"),
        ("points.json", [], r"holds no JSON object"),
        ("points.json", "{", r"points.json"),
        ("annotations.xml", "<annotations>", r"is not XML"),
        ("annotations.xml", "<annotations><track id='0' label='red'/></annotations>", r"does not name its video"),
        ("annotations.xml", CVAT_IMAGES.replace("1,2;3,4", "1;2"), r"'1' is no point; write x,y"),
        ("annotations.xml", CVAT_IMAGES.replace('xbr="30"', 'xbr="10"'), r"a box of 0 x 10 pixels shows nothing"),
        ("instances.json", {"annotations": []}, r"is no COCO file of boxes: 'images' is missing"),
        ("instances.json", {**COCO, "categories": []}, r"annotation 1: there is no image 5 or no category 1"),
        ("instances.json", {**COCO, "categories": [{"id": 1, "name": 3}]}, r"3 is no name of an image or a category"),
        ("instances.json", {**COCO, "images": [{"id": 5, "file_name": None}]}, r"None is no name of an image"),
        ("instances.json", {**COCO, "images": [{"id": [5], "file_name": "a"}]}, r"is no COCO file of boxes"),
        ("instances.json", {**COCO, "annotations": [{"image_id": [1], "category_id": 1, "bbox": []}]}, r"no COCO file"),
        ("instances.json", {**COCO, "images": [{"id": 5, "file_name": "gone.png"}]}, r"no image 6|names 'gone.png'"),
    ],
)
def test_mistakes_are_named_with_their_place(folder, name, content, sentence):
    with pytest.raises(DataError, match=sentence):
        open_places(write(folder, name, content))


def test_yolo_without_classes_or_with_a_wrong_line_is_refused(folder):
    write(folder, "labels/still.txt", "1 0.5 0.5 0.25\n")
    with pytest.raises(DataError, match=r"has no classes.txt, obj.names or data.yaml"):
        open_places(str(folder / "labels"), videos=str(folder))
    write(folder, "labels/classes.txt", "red ball\n")
    with pytest.raises(DataError, match=r"still.txt, line 1: must be a class, x, y, width and height as shares"):
        open_places(str(folder / "labels"), videos=str(folder))
    with pytest.raises(DataError, match=r"does not exist"):
        open_places(str(folder / "nothing"))
    with pytest.raises(DataError, match=r"words has 'red' without a word"):
        open_places(write(folder, "points.json", point()), words="red")


@pytest.mark.parametrize(
    "line", ["0 0.1 0.1 0.2 0.2 0.3 0.3", "-1 0.5 0.5 0.1 0.1", "0 nan 0.5 0.1 0.1", "0.5 0.5 0.5 0.1 0.1"]
)
def test_yolo_lines_that_are_no_boxes_are_refused(folder, line):
    write(folder, "labels/classes.txt", "red ball\n")
    write(folder, "labels/still.txt", f"{line}\n")
    with pytest.raises(DataError, match=r"still.txt, line 1: must be a class, x, y, width and height as shares"):
        open_places(str(folder / "labels"), videos=str(folder))


def test_yolo_files_without_boxes_are_passed_over(folder):
    write(folder, "labels/classes.txt", "red ball\n")
    write(folder, "labels/README.roboflow.txt", "This dataset was exported.\n")
    write(folder, "labels/a_picture_that_is_gone.txt", "\n")
    write(folder, "labels/still.txt", "0 0.5 0.5 0.25 0.5\n")
    assert len(open_places(str(folder / "labels"), videos=str(folder))) == 1


def test_yolo_shares_are_of_the_picture_as_it_is_shown(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # A quarter turn.
    Image.new("RGB", (64, 48)).save(folder / "turned.jpg", exif=exif)
    write(folder, "labels/classes.txt", "red ball\n")
    write(folder, "labels/turned.txt", "0 0.5 0.25 0.25 0.5\n")
    assert rows(open_places(str(folder / "labels"), videos=str(folder))) == [
        ("turned.jpg", 0, "the red ball", 24.0, 16.0, (6.0, 16.0))
    ]


def test_yolo_labels_of_a_damaged_video_or_picture_name_it(folder):
    write(folder, "labels/classes.txt", "red ball\n")
    write(folder, "labels/shot_2.txt", "0 0.5 0.5 0.1 0.1\n")
    (folder / "shot.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"shot.mp4: the file of 8 bytes is not a readable video"):
        open_places(str(folder / "labels"), videos=str(folder))
