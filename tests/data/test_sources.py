import json
import pickle

import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.records import Caption, FrameCaption, Span
from hilight_jax.data.sources import is_missing, open_source
from tests.data.clips import encode, grey_frames, write_stored


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return str(path)


def test_a_manifest_gives_records(tmp_path):
    path = write(
        tmp_path / "m.jsonl",
        {"video": "a.mp4", "text": "red ball", "spans": [{"start": 0, "end": 3, "kind": "ball", "object": "ball:3"}]},
        "",
        {"id": "b", "video": "sub/b.mp4", "texts": ["x", {"text": "y", "spans": []}], "caption": "z", "frame": 2},
    )
    source = open_source(f"manifest:{path}")
    assert len(source) == 2 and source.name == f"manifest:{path}"
    assert source[0].id == "a.mp4" and source[0].video == str(tmp_path / "a.mp4")
    assert source[0].captions == (Caption("red ball", (Span(0, 3, "ball", "ball:3"),)),)
    assert source[1].id == "b" and source[1].video == str(tmp_path / "sub/b.mp4")
    assert source[1].captions == (Caption("x"), Caption("y", ()))
    assert source[1].frame_caption == FrameCaption(Caption("z"), 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"video": "a.mp4", "text": ', r"m.jsonl, line 2: not JSON \(Expecting value at column 28\)"),
        ('["a.mp4"]', "line 2: a line must be a JSON object"),
        ('{"text": "x"}', "line 2: the key 'video' is missing; the line has 'text'"),
        ('{"video": "a.mp4"}', "line 2: the key 'text' is missing"),
        ('{"video": "a.mp4", "text": 3}', "line 2: 'text' must be of type str, not 3"),
        ('{"video": "a.mp4", "texts": []}', "line 2: 'texts' is empty"),
        ('{"video": "a.mp4", "texts": ["x"], "text": "y"}', "line 2: with 'texts', leave out"),
        ('{"video": "a.mp4", "text": "x", "span": []}', "line 2: the key 'span' is not known; did you mean 'spans'"),
        ('{"video": "a.mp4", "text": "x", "spans": [{"start": 0, "end": 9}]}', "line 2: the span .* <= 1"),
        ('{"video": "a.mp4", "text": "x", "caption": "y", "frame": -1}', "line 2: 'frame' must be"),
    ],
)
def test_a_mistake_in_a_manifest_names_file_and_line(tmp_path, line, message):
    path = write(tmp_path / "m.jsonl", {"video": "a.mp4", "text": "x", "my_own_key": 1}, line)
    with pytest.raises(DataError, match=message):
        open_source(path)


def test_only_a_line_feed_ends_a_line(tmp_path):
    lines = [{"video": f"{i}.mp4", "text": text} for i, text in enumerate(["a\u2028b", "c\x85d", "e\u2029f"])]
    path = tmp_path / "m.jsonl"
    path.write_bytes("\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode())
    source = open_source(str(path))
    assert [source[i].captions[0].text for i in range(len(source))] == ["a\u2028b", "c\x85d", "e\u2029f"]
    clip_vip = write(tmp_path / "c.jsonl", json.dumps({"text": "a\u2028b", "clip_id": "x"}, ensure_ascii=False))
    assert open_source(clip_vip)[0].captions == (Caption("a\u2028b"),)
    with pytest.raises(DataError, match="line 1: not JSON"):
        open_source(write(tmp_path / "v.jsonl", '{"video": "a.mp4", "text": "a\x0bb"}'))
    csv = write(tmp_path / "t.csv", "video_id,sentence", 'v1,"one\ntwo\u2028three"', "v2,four\x0bfive")
    source = open_source(csv)
    assert [source[i].captions[0].text for i in (0, 1)] == ["one\ntwo\u2028three", "four\x0bfive"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"videos": [3], "sentences": []}, "MSRVTT.json, video 1 must be an object, not 3"),
        ({"videos": 3, "sentences": []}, "MSRVTT.json, videos must be a list of objects, not 3"),
        ({"videos": [{"video_id": "v", "split": 1}], "sentences": ["x"]}, "sentence 1 must be an object, not 'x'"),
        ({"videos": [{"video_id": 7}], "sentences": []}, "video 1: 'video_id' must be of type str, not 7"),
    ],
)
def test_a_mistake_in_msrvtts_json_is_named(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        open_source(write(tmp_path / "MSRVTT.json", data))


def test_a_video_listed_twice_gets_two_ids(tmp_path):
    path = write(tmp_path / "m.jsonl", {"video": "a.mp4", "text": "x"}, {"video": "a.mp4", "text": "y"})
    assert [open_source(path)[i].id for i in (0, 1)] == ["a.mp4", "a.mp4#2"]


def test_clip_vip_annotations_are_recognised(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/video8.avi").touch()
    path = write(
        tmp_path / "t.jsonl", {"clip_id": "dir/video7", "text": ["x", "y"]}, {"clip_id": "video8", "text": "z"}
    )
    source = open_source(path)
    assert [c.text for c in source[0].captions] == ["x", "y"]
    source = open_source(f"clip_vip:{path},videos={tmp_path}/videos,paragraph=1")
    assert source[0].captions == (Caption("x y"),)
    assert source[0].video == f"{tmp_path}/videos/dir/video7.mp4"
    assert source[1].video == f"{tmp_path}/videos/video8.avi"


def test_msrvtt_json_and_csv(tmp_path):
    data = {
        "videos": [{"video_id": "video0", "split": "train"}, {"video_id": "video1", "split": "test"}],
        "sentences": [{"video_id": f"video{i % 2}", "caption": f"s{i}"} for i in range(4)],
    }
    path = write(tmp_path / "MSRVTT_data.json", data)
    source = open_source(f"msrvtt:{path},split=train")
    assert len(source) == 1 and [c.text for c in source[0].captions] == ["s0", "s2"]
    test = write(tmp_path / "1ka.csv", "key,vid_key,video_id,sentence", 'ret0,msr1,video1,"one, two"')
    assert open_source(test)[0].captions == (Caption("one, two"),)
    train = write(tmp_path / "9k.csv", "video_id", "video1")
    assert [c.text for c in open_source(f"msrvtt:{train},captions={path}")[0].captions] == ["s1", "s3"]
    with pytest.raises(DataError, match="has no column 'sentence'; name the json"):
        open_source(train)
    with pytest.raises(DataError, match="has no videos of split 'dev'; its splits are test, train"):
        open_source(f"msrvtt:{path},split=dev")


def test_stored_clips_are_read_without_tensorflow(tmp_path):
    labels = {
        "id": "w/train/0",
        "captions": [{"text": "red ball", "spans": [{"start": 0, "end": 8, "kind": "ball", "object": "ball:3"}]}],
        "frame_caption": {"frame": 1, "text": "a table", "spans": []},
        "objects": {"ball:3": {"visible": [1.0, 0.0]}},
    }
    directory = tmp_path / "stored" / "1.0.0"
    directory.mkdir(parents=True)
    write_stored(directory, [(encode(grey_frames(2)), labels)])
    assert is_missing(f"tfds:{tmp_path}/none/train") and not is_missing(f"tfds:{directory}/train")
    assert is_missing(f"questions:{tmp_path}/none/train") and not is_missing(f"questions:{directory}/train,turns=2")
    for specification in (f"tfds:{directory}/train", f"{directory}/train"):
        source = pickle.loads(pickle.dumps(open_source(specification)))
        assert len(source) == 1 and source[0].id == "w/train/0" and source[0].labels == labels
        assert source[0].captions == (Caption("red ball", (Span(0, 8, "ball", "ball:3"),)),)
        assert source[0].frame_caption == FrameCaption(Caption("a table", ()), 1)
        assert source[0].video == encode(grey_frames(2))
    assert len(open_source(f"tfds:{directory}/train,first=1")) == 1
    for first in ("0", "2", "-1", "all"):
        with pytest.raises(DataError, match=f"'first={first}' of .* must be a whole number from 1 to 1, its clips"):
            open_source(f"tfds:{directory}/train,first={first}")
    with pytest.raises(DataError, match="has no split 'trian'; it has train. Did you mean 'train'"):
        open_source(f"tfds:{directory}/trian")


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("manifst:x.jsonl", "'manifst' in .* is no kind of source; kinds: .* Did you mean 'manifest'"),
        ("manifest:none.jsonl", "cannot read 'none.jsonl': No such file"),
        ("manifest:", "names no path"),
        ("msrvtt:x.json,video=d", "'video' in .* is no option of msrvtt; .* Did you mean 'videos'"),
        ("manifest:x.jsonl,videos", "must have the form OPTION=VALUE"),
        ("tfds:nowhere/train", "no stored dataset at 'nowhere'"),
        ("some/where.txt", "is not recognised as a source"),
    ],
)
def test_a_source_that_cannot_be_opened_ends_in_a_sentence(specification, message):
    with pytest.raises(DataError, match=message):
        open_source(specification)
