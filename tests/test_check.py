import json
import pickle

import pytest

from hilight_jax import check
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.data.bad_clips import read_quarantine
from tests.data.clips import encode, grey_frames, write_manifest
from tests.data.conversations.tiny_gemma import PATH


@pytest.fixture
def flawed(tmp_path):
    """Two sources with one flaw of each kind."""
    train, held_out = tmp_path / "train", tmp_path / "held_out"
    train.mkdir(), held_out.mkdir()
    write_manifest(train, 4)
    write_manifest(held_out, 1)  # The same video and texts as the first of train.
    (train / "empty.mp4").write_bytes(b"")
    (train / "text.mp4").write_bytes(encode(grey_frames(3)))
    with open(train / "clips.jsonl", "a") as file:
        file.write("\n" + json.dumps({"video": "empty.mp4", "text": "an empty file"}))
        file.write("\n" + json.dumps({"video": "text.mp4", "text": " "}))
        file.write("\n" + json.dumps({"id": "long", "video": "gone.mp4", "text": "ball " * 100}))
    return str(train / "clips.jsonl"), str(held_out / "clips.jsonl")


def run(capsys, *arguments):
    code = check.main([*arguments, "--workers", "1", "--json"])
    out = capsys.readouterr().out.splitlines()
    return code, json.loads(out[-1]), "\n".join(out[:-1])


def test_every_flaw_is_found_and_the_unusable_are_quarantined(flawed, tmp_path, capsys):
    quarantine = tmp_path / "bad.jsonl"
    code, result, text = run(capsys, *flawed, "--quarantine", str(quarantine))
    assert code == 1 and not result["clean"]
    assert result["counts"] == {
        "undecodable video": 2,
        "no text": 1,
        "long text": 1,
        "duplicate video between sources": 1,
        "duplicate text between sources": 2,
    }
    assert read_quarantine(str(quarantine), flawed[0]) == {"empty.mp4", "text.mp4", "long"}
    assert read_quarantine(str(quarantine), flawed[1]) == set()
    train, held_out = result["sources"]
    assert (train["videos"], train["decodable"], train["texts"], train["longest_text_tokens"]) == (7, 5, 11, 102)
    assert (held_out["videos"], held_out["decodable"], held_out["sizes"]) == (1, 1, ["16x16"])
    assert "empty.mp4" in text and "the file is empty (0 bytes)" in text and "the file does not exist" in text


def test_a_clean_source_gives_zero(tmp_path, capsys):
    code, result, text = run(capsys, write_manifest(tmp_path, 2))
    assert code == 0 and result["clean"] and "nothing is wrong" in text


def test_texts_and_videos_are_measured_against_the_config(tmp_path, capsys):
    manifest = write_manifest(tmp_path, 1, num_frames=2, texts=["ball " * 47])
    assert run(capsys, manifest)[0] == 0
    config = ["--config", "configs/encoder.py:demo"]
    code, result, text = run(capsys, manifest, *config)
    assert code == 1 and result["counts"] == {"long text": 1, "short video": 1}
    assert (result["text_length"], result["num_frames"]) == (48, 6)
    assert "a text may have 48 tokens" in text and "a text of 49 tokens will be cut to 48" in text
    assert run(capsys, manifest, *config, "--config.data.num_frames=2", "--text_length", "49")[0] == 0
    with pytest.raises(UserError, match="'--config.data.num_frames=2' is not an argument, or needs --config"):
        run(capsys, manifest, "--config.data.num_frames=2")


def test_a_video_whose_end_is_missing_is_damaged(tmp_path, capsys):
    manifest = write_manifest(tmp_path, 1)
    clip = encode(grey_frames(20), "matroska")
    (tmp_path / "0.mp4").write_bytes(clip[: len(clip) // 2])
    code, result, text = run(capsys, manifest)
    assert code == 1 and result["counts"] == {"damaged video": 1} and result["unusable"] == 0
    assert "its header says 2.0 seconds" in text


def said(*texts):
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]


def test_every_bad_conversation_is_listed_in_a_sentence(tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(encode(grey_frames(3)))
    (tmp_path / "bad.mp4").write_bytes(b"")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(print))
    entries = [
        {"id": "good", "video": "a.mp4", "conversations": said("<video>\nWhat?", "A shot.")},
        {"id": "marks", "video": "a.mp4", "conversations": said("What?", "A shot.")},
        {"id": "open", "video": "a.mp4", "conversations": said("<video>\nWhat?")},
        {"id": "tag", "video": "a.mp4", "conversations": said("<video>\nWhat?", "<video> A shot.")},
        {"id": "empty", "conversations": []},
        {"id": "video", "video": "bad.mp4", "conversations": said("<video>\nWhat?", "A shot.")},
        {"id": "pickle", "video": "evil.pkl", "conversations": said("<video>\nWhat?", "A shot.")},
        {"id": "long", "video": "a.mp4", "conversations": said("<video>\nWhat?", "A shot.", "And?", "Well. " * 400)},
    ]
    train, quarantine = tmp_path / "train.json", tmp_path / "bad.jsonl"
    train.write_text(json.dumps(entries))
    specification = f"hilight:{train}"
    code, result, text = run(capsys, specification, "--quarantine", str(quarantine), "--tokenizer", str(PATH))
    assert code == 1
    assert result["counts"] == {"bad conversation": 4, "undecodable video": 2, "long conversation": 1}
    assert read_quarantine(str(quarantine), specification) == {"marks", "open", "tag", "empty", "video", "pickle"}
    assert "0 <video> marks for 1 video" in text and "it ends with a question" in text
    assert "tokens do not fit into 1024: the last" in text
    (source,) = result["sources"]
    assert (source["conversations"], source["usable"], source["most_clips"]) == (8, 2, 1)


def test_conversations_are_measured_against_the_config(tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(encode(grey_frames(3)))
    train, other = tmp_path / "train.json", tmp_path / "other.json"
    entries = [{"q": "Well, what?", "a": "A shot. " * 300, "video_id": "a"}]
    for path in (train, other):
        path.write_text(json.dumps(entries))
    sources = [f"video_instruct:{train}", f"video_instruct:{other}"]
    code, result, text = run(capsys, *sources)
    assert code == 1 and result["counts"] == {"duplicate video between sources": 1}
    config = ["--config", "configs/align.py:demo", "--tokenizer", str(PATH)]
    code, result, text = run(capsys, sources[0], *config)
    assert result["counts"] == {"long conversation": 1, "short video": 1} and result["max_length"] == 1024
    with pytest.raises(DataError, match="none.model does not exist"):
        run(capsys, sources[0], "--tokenizer", "none.model")


def test_no_workers_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="at least 1 worker process, not 0"):
        check.main([write_manifest(tmp_path, 1), "--workers", "0"])
