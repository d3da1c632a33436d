import json
import pickle

import pytest

from hilight_jax.core.errors import DataError
from hilight_jax.data.conversations.checks import check_conversation
from hilight_jax.data.conversations.conversation import Conversation, PickledClip, Turn
from hilight_jax.data.conversations.sources import holds_conversations, open_conversations


def write(path, entries):
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return str(path)


def said(*texts):
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]


def test_hilights_json_gives_conversations(tmp_path):
    entries = [
        {"id": "a", "video": "1.pkl", "conversations": said("<video>\nWhat?", "A shot.", "And then?", "Nothing.")},
        {"id": "a", "video": ["x.mp4", "sub/y.mp4"], "conversations": said("Which?\n<video><video>", "The first.")},
        {"conversations": said("Hello.", "Hi.")},
    ]
    path = write(tmp_path / "train.json", entries)
    source = pickle.loads(pickle.dumps(open_conversations(f"hilight:{path},videos={tmp_path}/clips")))
    assert len(source) == 3 and source.name == f"hilight:{path},videos={tmp_path}/clips"
    assert source.conversation(0, None) == Conversation(
        "a",
        (PickledClip(f"{tmp_path}/clips/1.pkl"),),
        (
            Turn("user", "<video>\nWhat?"),
            Turn("model", "A shot."),
            Turn("user", "And then?"),
            Turn("model", "Nothing."),
        ),
    )
    assert source.conversation(1, None).id == "a#2"
    assert source.conversation(1, None).videos == (f"{tmp_path}/clips/x.mp4", f"{tmp_path}/clips/sub/y.mp4")
    assert source.conversation(2, None).id == "3" and source.conversation(2, None).videos == ()


def test_llavas_images_are_clips(tmp_path):
    (tmp_path / "1.jpg").touch()
    path = write(
        tmp_path / "l.json", [{"id": "i", "image": "1.jpg", "conversations": said("<image>\nWhat?", "A cat.")}]
    )
    conversation = open_conversations(f"hilight:{path}").conversation(0, None)
    assert conversation.videos == (f"{tmp_path}/1.jpg",) and conversation.turns[0].text == "<video>\nWhat?"


def test_video_instruct_gives_one_turn_each(tmp_path):
    (tmp_path / "v_1.mkv").touch()
    entries = [{"q": "What?", "a": "This.", "video_id": "v_1"}, {"q": "Who?", "a": "She.", "video_id": "v_1"}]
    source = open_conversations(f"video_instruct:{write(tmp_path / 'V.json', entries)}")
    assert source.conversation(0, None) == Conversation(
        "v_1", (f"{tmp_path}/v_1.mkv",), (Turn("user", "<video>\nWhat?"), Turn("model", "This."))
    )
    assert source.conversation(1, None).id == "v_1#2"


def test_valley_finds_clips_in_the_folder_of_their_source(tmp_path):
    (tmp_path / "jukin").mkdir()
    (tmp_path / "jukin" / "b.mp4").touch()
    entries = [
        {"id": 7, "video": "a.mp4", "conversations": said("What?\n<video>", "A.")},
        {"v_id": "b", "video": "b", "source": "jukin", "conversations": said("<video>\nWho?", "B.")},
        {"v_id": "c", "video": "c.mp4", "source": "elsewhere", "conversations": said("<video>\nWho?", "C.")},
    ]
    source = open_conversations(f"valley:{write(tmp_path / 'v.json', entries)}")
    clips = [(c.id, *c.videos) for c in (source.conversation(i, None) for i in range(3))]
    assert clips == [
        ("7", f"{tmp_path}/a.mp4"),
        ("b", f"{tmp_path}/jukin/b.mp4"),
        ("c", f"{tmp_path}/c.mp4"),
    ]


@pytest.mark.parametrize(
    ("kind", "entries", "message"),
    [
        ("hilight", "[1", "line 1: not JSON"),
        ("hilight", {"a": 1}, "is no file of conversations: it must hold a list of objects"),
        ("hilight", [], "lists no conversations"),
        ("hilight", [{"conversation": []}], "the key 'conversation' is not known; did you mean 'conversations'"),
        ("hilight", [{"conversations": ["x"]}], "entry 1: 'conversations' must be a list of objects"),
        ("hilight", [{"conversations": [{"from": "gpt"}]}], "entry 1: the key 'value' is missing"),
        ("hilight", [{"video": 3, "conversations": []}], "entry 1: 'video' must be a file name"),
        ("valley", [{"source": 3, "conversations": []}], "entry 1: 'source' must be of type str"),
        ("video_instruct", [{"q": "x", "a": "y", "video_id": 3}], "entry 1: 'video_id' must be of type str"),
    ],
)
def test_a_mistake_in_a_file_names_file_and_entry(tmp_path, kind, entries, message):
    with pytest.raises(DataError, match=message):
        source = open_conversations(f"{kind}:{write(tmp_path / 'c.json', entries)}")
        check_conversation(source.conversation(len(entries) - 1, None), None, num_video_tokens=1, max_length=64)


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        (
            "train.json",
            "'train.json' does not say what it holds: write KIND:train.json with KIND out of questions, hil",
        ),
        ("vally:train.json", "'vally' in .* is no kind of source; .* Did you mean 'valley'"),
        ("hilight:none.json", "cannot read 'none.json': No such file"),
        ("hilight:", "names no path; write KIND:PATH with KIND out of questions"),
        ("hilight:x.json,video=d", "'video' in .* is no option of hilight; .* Did you mean 'videos'"),
        ("questions:nowhere/train", "no stored dataset at 'nowhere'"),
    ],
)
def test_a_source_that_cannot_be_opened_ends_in_a_sentence(specification, message):
    with pytest.raises(DataError, match=message):
        open_conversations(specification)


def test_conversations_are_told_from_clips():
    assert holds_conversations("valley:x.json") and holds_conversations("questions:d/train")
    assert not holds_conversations("tfds:d/train") and not holds_conversations("x.json")
