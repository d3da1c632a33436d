import json

import pytest

from hilight_jax import check
from hilight_jax.data.bad_clips import read_quarantine
from tests.data.clips import encode, grey_frames, write_manifest


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
    assert read_quarantine(str(quarantine)) == {"empty.mp4", "text.mp4", "long"}
    train, held_out = result["sources"]
    assert (train["videos"], train["decodable"], train["texts"], train["longest_text_tokens"]) == (7, 5, 11, 102)
    assert (held_out["videos"], held_out["decodable"], held_out["sizes"]) == (1, 1, ["16x16"])
    assert "empty.mp4" in text and "the file is empty (0 bytes)" in text and "the file does not exist" in text


def test_a_clean_source_gives_zero(tmp_path, capsys):
    code, result, text = run(capsys, write_manifest(tmp_path, 2))
    assert code == 0 and result["clean"] and "nothing is wrong" in text
