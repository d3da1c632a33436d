import json

import pytest

from hilight_jax import connectors
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import UserError
from hilight_jax.stages.load_config import load_config

RESULT = {
    "date": "2026-11-22 14:05",
    "step": 5,
    "needs_video": {
        "types": ["hit"],
        "normalised": 0.75,
        "most_frequent": 0.5,
        "question_only": 0.5,
        "other_clip": 0.25,
    },
    "types": {"hit": {"normalised": 0.75}},
}


def finish(workdir, connector, seed, steps=5):
    """A finished run of one cell, as train and evaluate leave it."""
    config = load_config(
        f"configs/align.py:demo,connector={connector}",
        [f"--config.seed={seed}", f"--config.steps={steps}", "--config.sources.encoder=runs/encoder-demo"],
    )
    run = workdir / f"{connector}-seed{seed}"
    (run / "evaluations").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(to_dict(config)))
    (run / "evaluations" / "validation.json").write_text(json.dumps(RESULT))
    records = [
        {"step": 1, "next_token": 2.0},
        {"step": 5, "next_token": 1.0},
        {"step": 5, "validation/next_token": 1.25},
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def table(workdir, capsys, *more):
    connectors.main(["--table_only", "--workdir", str(workdir), "--seeds", "0,1", "--steps", "5", "--json", *more])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_every_cell_that_was_not_run_says_so(tmp_path, capsys):
    rows = table(tmp_path, capsys)["rows"]
    assert len(rows) == 4
    assert all(run["not_run"] == "not trained" for row in rows for run in row["runs"])
    assert "not run" in (tmp_path / "connectors.md").read_text()


def test_a_finished_run_gives_its_loss_its_score_and_both_controls(tmp_path, capsys):
    finish(tmp_path, "two_linear", seed=1)
    found = table(tmp_path, capsys)
    (row,) = (row for row in found["rows"] if "two linear" in row["name"])
    assert "not_run" in row["runs"][0]
    assert row["runs"][1] == {
        "seed": 1,
        "date": "2026-11-22 14:05",
        "step": 5,
        "loss": 1.25,
        "right": 0.75,
        "controls": {"most_frequent": 0.5, "other_clip": 0.25},
        "types": {"hit": 0.75},
    }
    assert (
        "| not run / 1.250 | not run / 0.750 | not run / 0.500 | not run / 0.250 |"
        in (tmp_path / "connectors.md").read_text()
    )
    page = (tmp_path / "index.html").read_text()
    assert "<polyline" in page and "one cross attention, two linear maps, seed 1" in page


def test_a_run_of_another_configuration_is_not_shown(tmp_path, capsys):
    finish(tmp_path, "two_linear", seed=0, steps=6)
    rows = table(tmp_path, capsys)["rows"]
    assert {run["not_run"] for row in rows for run in row["runs"]} == {
        "not trained",
        "trained with another configuration than the row's",
    }


def test_seeds_that_are_no_numbers_are_refused():
    with pytest.raises(UserError, match="--seeds is 'a', but must be whole numbers"):
        connectors.main(["--table_only", "--seeds", "a"])
