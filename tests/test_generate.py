import json

import av
import pytest

from hilight_jax import generate
from hilight_jax.core import commands
from hilight_jax.core.errors import UserError

SMALL = ["--split", "train=3", "--split", "validation=1", "--split", "unseen=0", "--workers", "1", "--json"]


def test_a_dataset_is_written_and_the_last_line_is_json(tmp_path, capsys):
    generate.main(["--world", "demo-v1", "--data_dir", str(tmp_path), *SMALL])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["directory"] == str(tmp_path / "demo-v1" / "1.0.0")
    assert result["sizes"] == {"train": 3, "validation": 1}
    assert result["clips_made"] == 4 and result["clips_per_second"] > 0

    generate.main(["--world", "demo-v1", "--data_dir", str(tmp_path), *SMALL])
    *_, said, last = capsys.readouterr().out.splitlines()
    assert said == f"{tmp_path}/demo-v1/1.0.0 is complete already."
    assert json.loads(last)["clips_made"] == 0


def test_a_dataset_of_an_older_generator_is_kept_with_a_remark(tmp_path, capsys, monkeypatch):
    generate.main(["--world", "demo-v1", "--data_dir", str(tmp_path), *SMALL])
    monkeypatch.setattr(generate.dataset, "generator_digest", lambda: "of a later day")
    capsys.readouterr()
    generate.main(["--world", "demo-v1", "--data_dir", str(tmp_path), *SMALL])
    complete, remark, last = capsys.readouterr().out.splitlines()
    assert "is complete already" in complete and remark.startswith("The generator has changed since it was made")
    assert json.loads(last)["is_current"] is False


def test_videos_to_watch_come_with_their_labels(tmp_path, capsys):
    generate.main(["--format", "mp4", "--count", "2", "--fps", "12", "--to", str(tmp_path / "clips"), "--json"])
    files = json.loads(capsys.readouterr().out.splitlines()[-1])["files"]
    assert [file.rpartition("/")[2] for file in files] == [f"demo-v2-validation-00000{k}.mp4" for k in range(2)]
    for file in files:
        labels = json.loads(open(file.replace(".mp4", ".json")).read())
        with av.open(file) as container:
            assert len(list(container.decode(video=0))) == labels["num_frames"] == len(labels["times"])


def test_matches_come_with_their_truth(tmp_path, capsys):
    generate.main(["--world", "demo-v3", "--matches", "1", "--minutes", "0.2", "--to", str(tmp_path), "--json"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["files"] == [str(tmp_path / "demo-v3-match-000000.mp4")]
    assert json.loads((tmp_path / "demo-v3-match-000000.json").read_text())["strokes"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--world", "demo"],
            "unknown world 'demo'; known are demo-v1, demo-v2, demo-v2-112, demo-v3, table-blur-v1, table-v1. Did",
        ),
        (["--split", "test=3"], "--split test=3 is not NAME=SIZE, NAME of train, validation, unseen; such as train="),
        (["--workers", "0"], "--workers 0 makes no clips; give 1 or more"),
        (["--split", "train=many"], "--split train=many is not NAME=SIZE"),
        (["--format", "mp4"], "--format mp4 needs --to DIR"),
        (["--format", "mp4", "--to", "x", "--fps", "0"], "cannot write 3 clips at 0.0 frames/s; give at"),
        (["--data_dir", "/dev/null"], "writing to /dev/null"),
        (["--matches", "2"], "--matches needs --to DIR, the folder to write the films to."),
        (["--matches", "0", "--to", "x"], "cannot write 0 matches from number 0 on; give at least 1"),
        (["--matches", "1", "--to", "x", "--minutes", "9-3"], "--minutes 9-3 is not LOW-HIGH, two numbers from 0.1"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence):
    with pytest.raises(UserError) as error:
        generate.main(arguments)
    assert sentence in str(error.value)


def test_the_command_exits_with_2_on_a_mistake(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["generate", "--world", "nowhere"])
    with pytest.raises(SystemExit) as stop:
        commands.run(generate.main)
    assert stop.value.code == 2 and capsys.readouterr().err.startswith("error: unknown world 'nowhere'")
