import json

import pytest

from hilight_jax import check
from hilight_jax.core.errors import UserError
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
    assert (result["text_length"], result["num_frames"]) == (48, 4)
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


def test_no_workers_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="at least 1 worker process, not 0"):
        check.main([write_manifest(tmp_path, 1), "--workers", "0"])
