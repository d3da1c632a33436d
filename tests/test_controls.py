"""The table of the control runs, made of runs that nobody trained."""

import json

import pytest

from hilight_jax import controls
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import UserError
from hilight_jax.pages.control_table import COLUMNS, markdown
from hilight_jax.stages.load_config import load_config

CONFIG = "configs/encoder.py"
NAME, OTHER = "no local loss", "SPARC as published, last block, content (setting 2)"
BALL = {"area_chance": 0.04, "random_ball": 0.2, "any_ball": 0.8, "shuffled_word": 0.1, "soft_iou": 0.3}


def evaluation(split, pointing, date):
    ranks = {"R@1": 0.21, "R@5": 0.7, "R@10": 0.9, "median_rank": 3.0}
    classes = {} if pointing is None else {"ball": {**BALL, "pointing": pointing}}
    return {
        "step": 500,
        "date": date,
        "source": f"tfds:data/demo-v1/1.0.0/{split}",
        "retrieval": {"plain": {"text_to_video": ranks, "video_to_text": ranks}},
        "grounding": {"classes": classes},
    }


def finish(root, name, seed, pointing=0.5, overrides=(), date="2026-11-22 14:05"):
    """Leaves behind what training and evaluating one cell does."""
    workdir = controls.run_dir(root, name, seed)
    (workdir / "evaluations").mkdir(parents=True)
    config = load_config(f"{CONFIG}:{controls.ROWS[name]}", [f"config.seed={seed}", *overrides])
    (workdir / "config.json").write_text(json.dumps(to_dict(config)))
    for split in controls.SPLITS:
        result = json.dumps(evaluation(split, pointing, date))
        (workdir / "evaluations" / f"{split}.json").write_text(result)
    return workdir


@pytest.fixture
def table(tmp_path, capsys):
    def make(*arguments):
        assert controls.main(["--workdir", str(tmp_path), "--table_only", "--json", *arguments]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert json.loads((tmp_path / "controls.json").read_text()) == found
        assert (tmp_path / "controls.md").read_text() == markdown(found)
        return found

    return make


def runs(found, name):
    (row,) = [row for row in found["rows"] if row["name"] == name]
    return row["runs"]


def line(found, name):
    (row,) = [row for row in markdown(found).splitlines() if row.startswith(f"| {name} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_nothing_run_says_so(table):
    found = table()
    assert found["date"] is None and "Nothing was run yet" in markdown(found)
    assert line(found, NAME)[1:] == ["not run"] * len(COLUMNS)
    assert f"not trained ({2 * len(controls.ROWS)})" in markdown(found)


def test_figures_of_the_seeds_stand_side_by_side(table, tmp_path):
    finish(tmp_path, NAME, seed=0, pointing=0.25)
    finish(tmp_path, NAME, seed=1, pointing=0.75, date="2026-11-23 09:00")
    finish(tmp_path, OTHER, seed=0)
    found = table()
    both, one = (dict(zip(COLUMNS, line(found, name)[1:], strict=True)) for name in (NAME, OTHER))
    assert both["validation/ball_pointing"] == "0.25 / 0.75" and both["unseen/ball_any_ball"] == "0.80 / 0.80"
    assert one["validation/text_to_video_r1"] == "0.21 / not run" and one["unseen/ball_area_chance"] == "0.04 / not run"
    assert [run["step"] for run in runs(found, NAME)] == [500, 500]


def test_date_and_command_are_those_of_the_runs(table, tmp_path):
    finish(tmp_path, NAME, seed=4, date="2026-11-20 23:59")
    finish(tmp_path, OTHER, seed=4, date="2026-11-21 00:10")
    found = table("--seeds", "4", "--only", NAME)
    assert found["date"] == "2026-11-21 00:10"
    assert found["command"] == (
        f"python -m hilight_jax.controls --config {CONFIG} --workdir {tmp_path} --data_dir data --seeds 4"
    )


def test_data_that_names_no_ball_has_no_pointing_and_a_reason(table, tmp_path):
    finish(tmp_path, NAME, seed=0, pointing=None)
    found = table("--seeds", "0")
    cells = dict(zip(COLUMNS, line(found, NAME)[1:], strict=True))
    assert cells["validation/text_to_video_r1"] == "0.21" and cells["validation/ball_pointing"] == "not run"
    assert "names an object ball" in runs(found, NAME)[0]["not_run"]


def test_a_run_that_is_not_the_rows_is_not_shown(table, tmp_path):
    finish(tmp_path, NAME, seed=0, overrides=["config.steps=7"])
    finish(tmp_path, OTHER, seed=0, overrides=["config.log_every=7"])  # changes no result
    (finish(tmp_path, NAME, seed=1) / "evaluations" / "unseen.json").unlink()
    found = table()
    assert [run.get("not_run") for run in runs(found, NAME)] == [
        "trained with another configuration than the row's",
        "not finished",
    ]
    assert runs(found, OTHER)[0]["validation/ball_pointing"] == 0.5


def test_missing_cells_are_trained_seed_by_seed(tmp_path, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(controls, "train", lambda config, name, seed, *rest: started.append((name, seed)))
    finish(tmp_path, OTHER, seed=0)
    names = ["--only", NAME, "--only", "setting 2"]
    controls.main(["--workdir", str(tmp_path), "--seeds", "0,1", *names])
    assert started == [(NAME, 0), (NAME, 1), (OTHER, 1)]


@pytest.mark.parametrize("name", controls.ROWS)
def test_every_row_is_a_configuration(name):
    load_config(f"{CONFIG}:{controls.ROWS[name]}")


def test_bad_options_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="--only nonsense fits no row; rows: no local loss; "):
        controls.main(["--workdir", str(tmp_path), "--only", "nonsense"])
    with pytest.raises(UserError, match="--seeds is '1,x'"):
        controls.main(["--workdir", str(tmp_path), "--seeds", "1,x"])
