"""The tables of runs, made of runs that nobody trained."""

import json

import pytest

from hilight_jax import ablate
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import UserError
from hilight_jax.experiments.ablations import TABLES
from hilight_jax.experiments.run_table import RunTable
from hilight_jax.pages.ablation_table import LOSSES, markdown
from hilight_jax.stages.load_config import load_config

CONFIG = "configs/encoder.py"
ROWS, COLUMNS = TABLES["losses"].rows, LOSSES.columns
NAME, OTHER = "no local loss", "SPARC as published, last block, content (setting 2)"
BALL = {
    "interval": [0.1, 0.9],
    "area_chance": 0.04,
    "random_ball": 0.2,
    "any_ball": 0.8,
    "shuffled_word": 0.1,
    "soft_iou": 0.3,
}
ANSWERS = {
    "date": "2026-11-22 14:05",
    "step": 5,
    "source": "questions:validation",
    "needs_video": {
        "types": ["hit"],
        "normalised": 0.75,
        "most_frequent": 0.5,
        "question_only": 0.5,
        "other_clip": 0.25,
    },
    "types": {"hit": {"normalised": 0.75}},
    "calibration": {"overall": {"error_after": 0.05}},
}


def evaluation(split, pointing, date):
    ranks = {"R@1": 0.21, "R@5": 0.7, "R@10": 0.9, "median_rank": 3.0}
    classes = {} if pointing is None else {"ball": {**BALL, "pointing": pointing}}
    return {
        "step": 350,
        "date": date,
        "source": f"tfds:data/demo-v1/1.0.0/{split}",
        "retrieval": {"plain": {"text_to_video": ranks, "video_to_text": ranks}},
        "grounding": {"classes": classes},
    }


def leave(cell, results, *overrides):
    """Leaves behind what training and evaluating one cell does."""
    (cell.workdir / "evaluations").mkdir(parents=True)
    config = load_config(cell.spec, [*cell.overrides, *overrides])
    (cell.workdir / "config.json").write_text(json.dumps(to_dict(config)))
    for split, result in results.items():
        (cell.workdir / "evaluations" / f"{split}.json").write_text(json.dumps({**result, "step": config.steps}))
    return cell.workdir


def finish(root, name, seed, pointing=0.5, overrides=(), date="2026-11-22 14:05"):
    """A finished encoder."""
    (cell,) = [cell for cell in TABLES["losses"].cells(CONFIG, root, [seed]) if cell.row == name]
    results = {split: evaluation(split, pointing, date) for split in ("validation", "unseen")}
    results["validation-shuffle-positions"] = evaluation("validation", pointing and 0.125, date)
    return leave(cell, results, *overrides)


def finish_connector(root, connector, seed, steps=5):
    """A finished chat model."""
    overrides = ["config.sources.encoder=runs/encoder-demo", f"config.steps={steps}"]
    cells = TABLES["connectors"].cells("configs/align.py:demo", root, [seed], overrides)
    (cell,) = [cell for cell in cells if cell.workdir.name == f"{connector}-seed{seed}"]
    records = [
        {"step": 1, "next_token": 2.0},
        {"step": 5, "next_token": 1.0},
        {"step": 5, "validation/next_token": 1.25},
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (leave(cell, {"validation-per-kind-50": ANSWERS}) / "metrics.jsonl").write_text(lines)


@pytest.fixture
def table(tmp_path, capsys):
    def make(*arguments):
        assert ablate.main(["losses", "--workdir", str(tmp_path), "--table_only", "--json", *arguments]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert json.loads((tmp_path / "controls.json").read_text()) == found
        assert (tmp_path / "controls.md").read_text() == markdown(LOSSES, found)
        return found

    return make


@pytest.fixture
def demo(tmp_path, capsys):
    def make(*arguments):
        ablate.main(["demo", "--table_only", "--workdir", str(tmp_path), "--json", *arguments])
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return make


@pytest.fixture
def connectors(tmp_path, capsys):
    def make():
        ablate.main(["connectors", "--table_only", "--workdir", str(tmp_path), "--steps", "5", "--json"])
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return make


def runs(found, name):
    (row,) = [row for row in found["rows"] if row["name"] == name]
    return row["runs"]


def line(found, name):
    (row,) = [row for row in markdown(LOSSES, found).splitlines() if row.startswith(f"| {name} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_nothing_run_says_so(table):
    found = table()
    assert found["date"] is None and "Nothing was run yet" in markdown(LOSSES, found)
    assert line(found, NAME)[1:] == ["not run"] * len(COLUMNS)
    assert f"not trained ({3 * len(ROWS)})" in markdown(LOSSES, found)


def test_a_cell_is_the_mean_of_its_seeds_with_the_smallest_and_the_largest(table, tmp_path):
    finish(tmp_path, NAME, seed=0, pointing=0.25)
    finish(tmp_path, NAME, seed=1, pointing=0.75, date="2026-11-23 09:00")
    finish(tmp_path, OTHER, seed=0)
    found = table("--seeds", "0,1")
    both, one = (dict(zip(COLUMNS, line(found, name)[1:], strict=True)) for name in (NAME, OTHER))
    assert (
        both["validation/ball_pointing"] == "0.50 (0.25 to 0.75)"
        and both["validation/ball_any_ball"] == "0.80 (0.80 to 0.80)"
    )
    assert (
        one["validation/text_to_video_r1"] == "0.21 (1 of 2 seeds)"
        and one["validation/ball_shuffled_word"] == "0.10 (1 of 2 seeds)"
    )
    assert [run["step"] for run in runs(found, NAME)] == [350, 350]


def test_date_and_command_are_those_of_the_runs(table, tmp_path):
    finish(tmp_path, NAME, seed=4, date="2026-11-20 23:59")
    finish(tmp_path, OTHER, seed=4, date="2026-11-21 00:10")
    found = table("--seeds", "4", "--only", NAME)
    assert found["date"] == "2026-11-21 00:10"
    assert found["command"] == (f"python -m hilight_jax.ablate losses --config {CONFIG} --seeds 4")


def test_data_that_names_no_ball_has_no_pointing_and_a_reason(table, tmp_path):
    finish(tmp_path, NAME, seed=0, pointing=None)
    found = table("--seeds", "0")
    cells = dict(zip(COLUMNS, line(found, NAME)[1:], strict=True))
    assert cells["validation/text_to_video_r1"] == "0.21" and cells["validation/ball_pointing"] == "not run"
    assert "names an object ball" in runs(found, NAME)[0]["note"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"step": 300}, "evaluated at step 300 of 350"), (None, "not finished"), ({"nan": True}, "is not finite")],
)
def test_a_run_counts_as_finished_by_a_whole_evaluation_of_its_last_step(table, tmp_path, change, reason):
    workdir = finish(tmp_path, NAME, seed=0)
    path = workdir / "evaluations" / "validation.json"
    result = json.loads(path.read_text()) | (change or {})
    if result.pop("nan", False):
        result["retrieval"]["plain"]["text_to_video"]["R@1"] = float("nan")
    path.write_text(json.dumps(result))
    if change is None:
        path.unlink()
    assert reason in runs(table(), NAME)[0]["not_run"]


def test_a_run_that_is_not_the_rows_is_not_shown(table, tmp_path):
    finish(tmp_path, NAME, seed=0, overrides=["config.steps=7"])
    finish(tmp_path, OTHER, seed=0, overrides=["config.log_every=7"])  # changes no result
    (finish(tmp_path, NAME, seed=1) / "evaluations" / "unseen.json").unlink()
    found = table("--seeds", "0,1")
    assert [run.get("not_run") for run in runs(found, NAME)] == [
        "trained with another configuration than the row's",
        "not finished",
    ]
    assert runs(found, OTHER)[0]["validation/ball_pointing"] == 0.5


def test_missing_cells_are_trained_seed_by_seed(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(RunTable, "train", lambda self, cell, data_dir: started.append((cell.row, cell.seed)))
    finish(tmp_path, OTHER, seed=0)
    names = ["--only", NAME, "--only", "setting 2"]
    ablate.main(["losses", "--workdir", str(tmp_path), "--seeds", "0,1", *names])
    assert started == [(NAME, 0), (NAME, 1), (OTHER, 1)]


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_configuration(name):
    load_config(f"{CONFIG}:{ROWS[name]}")


@pytest.mark.parametrize("kind", TABLES)
def test_bad_options_are_one_sentence(tmp_path, kind):
    with pytest.raises(UserError, match=f"--only nonsense fits no row; rows: {next(iter(TABLES[kind].rows))}[;.]"):
        ablate.main([kind, "--workdir", str(tmp_path), "--only", "nonsense"])
    for seeds in ("1,x", "a"):
        with pytest.raises(UserError, match=f"--seeds is '{seeds}', but must be whole numbers"):
            ablate.main([kind, "--table_only", "--workdir", str(tmp_path), "--seeds", seeds])
    with pytest.raises(UserError, match="--seeds is '0,0', but must name each seed once"):
        ablate.main([kind, "--table_only", "--workdir", str(tmp_path), "--seeds", "0,0"])


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("held", ["config.json", "checkpoints"])
def test_the_working_directory_of_a_training_run_is_refused_before_anything_is_written(tmp_path, kind, held):
    (tmp_path / held).mkdir()
    with pytest.raises(UserError, match=f"is the working directory of a training run: it holds {held}; give --workdir"):
        ablate.main([kind, "--workdir", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == [held]


def test_every_connector_that_was_not_run_says_so(connectors, tmp_path):
    rows = connectors()["rows"]
    assert len(rows) == len(TABLES["connectors"].rows) == 15
    assert all(run["not_run"] == "not trained" for row in rows for run in row["runs"])
    assert "not run" in (tmp_path / "connectors.md").read_text()


def test_a_finished_run_gives_its_loss_its_score_and_both_controls(connectors, tmp_path):
    finish_connector(tmp_path, "two_linear-tracksoff", seed=1)
    found = connectors()
    (row,) = (row for row in found["rows"] if "two linear" in row["name"])
    assert "not_run" in row["runs"][0]
    assert row["runs"][1] == {
        "seed": 1,
        "date": "2026-11-22 14:05",
        "step": 5,
        "source": "questions:validation",
        "parts": {},
        "loss": 1.25,
        "right": 0.75,
        "intervals": {"right": None},
        "influences": {},
        "controls": {"most_frequent": 0.5, "question_only": 0.5, "other_clip": 0.25},
        "types": {"hit": 0.75},
        "train_loss": 1.0,
        "curves": {"next_token": [[1, 2.0], [5, 1.0]]},
    }
    text = (tmp_path / "connectors.md").read_text()
    assert "| connector | validation loss | right | question alone | most frequent | other clip | hit |" in text
    cells = " | ".join(f"{figure} (1 of 3 seeds)" for figure in ("1.250", "0.750", "0.500", "0.500", "0.250"))
    assert f"| {cells} |" in text
    page = (tmp_path / "index.html").read_text()
    assert "<polyline" in page and "one cross attention, two linear maps, without word tracks, seed 1" in page


def test_a_connector_of_another_configuration_is_not_shown(connectors, tmp_path):
    finish_connector(tmp_path, "two_linear-tracksoff", seed=0, steps=6)
    assert {run["not_run"] for row in connectors()["rows"] for run in row["runs"]} == {
        "not trained",
        "trained with another configuration than the row's",
    }


def test_every_connector_looks_through_the_towers_that_are_named(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(RunTable, "train", lambda self, cell, data_dir: seen.append(cell))
    towers = ["--config", "configs/align.py:demo,frames=long_clip", "--encoder", "runs/e", "--long_clip", "runs/l"]
    ablate.main(["connectors", "--workdir", str(tmp_path), "--seeds", "3", "--steps", "7", *towers])
    assert [cell.workdir.name for cell in seen][:2] == ["dual_projector-tracksoff-seed3", "one_linear-tracksoff-seed3"]
    for cell in seen:
        config = load_config(cell.spec, cell.overrides)
        assert (config.sources.encoder, config.sources.long_clip) == ("runs/e", "runs/l")
        assert (config.seed, config.steps) == (3, 7)


def test_a_demo_is_made_of_runs_that_build_on_each_other_with_one_seed(tmp_path):
    (cell,) = TABLES["demo"].cells("configs/tune.py", tmp_path, [2])
    configs = [load_config(run.spec, run.overrides) for run in (*cell.before, cell)]
    places = [str(run.workdir) for run in (*cell.before, cell)]
    assert [config.stage for config in configs] == ["encoder", "align", "tune"]
    assert [config.seed for config in configs] == [2, 2, 2]
    assert configs[1].sources.encoder == places[0] and configs[2].sources.align == places[1]
    assert [run.evaluate for run in cell.before] == [((),), ()]


def test_a_demo_shows_its_encoder_and_its_answers_on_both_splits(demo, tmp_path):
    for seed, right in enumerate((0.5, 0.6)):
        (cell,) = TABLES["demo"].cells("configs/tune.py", tmp_path, [seed])
        needs_video = ANSWERS["needs_video"] | {"normalised": right}
        results = {"validation-per-kind-50": ANSWERS | {"needs_video": needs_video}, "unseen-per-kind-50": ANSWERS}
        leave(cell, results)
        for run in cell.before:
            run.workdir.mkdir(parents=True)
            (run.workdir / "config.json").write_text(json.dumps(to_dict(load_config(run.spec, run.overrides))))
        encoder = cell.before[0].workdir / "evaluations"
        encoder.mkdir(parents=True)
        for split in ("validation", "unseen"):
            (encoder / f"{split}.json").write_text(json.dumps(evaluation(split, 0.9, "2026-11-23 09:00")))
    found = demo()
    assert found["date"] == "2026-11-23 09:00" and "not_run" in found["rows"][0]["runs"][2]
    text = (tmp_path / "demo.md").read_text()
    assert "| run | R@1 | R@1, words | pointing | pointing, cue ball | right | right, unseen |" in text
    assert "| 0.900 (0.900 to 0.900; 2 of 3 seeds) | not run | 0.550 (0.500 to 0.600; 2 of 3 seeds) | 0.750 (" in text


def test_the_demo_has_no_steps_of_its_own(tmp_path, capsys):
    with pytest.raises(SystemExit):
        ablate.main(["demo", "--workdir", str(tmp_path), "--steps", "5"])
    assert "unrecognized arguments: --steps 5" in capsys.readouterr().err


def test_cells_are_trained_side_by_side(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(
        ablate,
        "train_side_by_side",
        lambda table, cells, data_dir, number, finished: taken.append(([cell.row for cell in cells], number)),
    )
    ablate.main(["losses", "--workdir", str(tmp_path), "--seeds", "0", "--only", NAME, "--at_once", "2"])
    assert taken == [([NAME], 2)] and (tmp_path / "controls.json").exists()
