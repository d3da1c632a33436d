"""Published tables, of runs that are made of a file or two."""

import dataclasses
import json
import math
import pathlib

import pytest

from hilight_jax import ablate
from hilight_jax.core.config import to_dict
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.experiments.ablations import TABLES
from hilight_jax.experiments.published import check_place, read_published
from hilight_jax.experiments.run_table import Before, RunTable
from hilight_jax.stages.load_config import load_config
from tests.experiments.colours import TABLE as ENCODERS

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHAIN = dataclasses.replace(
    ENCODERS,
    config="configs/align.py",
    rows={"red": "demo"},
    before=(Before("encoder", "configs/encoder.py:demo", evaluated=False),),
)


def finish(table, root, seeds, rows=("red",), overrides=()):
    """Leaves behind what training the cells does, and returns them."""
    cells = table.cells(table.config, root, seeds, overrides)
    for cell in cells:
        for run in (*cell.before, cell) if cell.row in rows else ():
            (run.workdir / "evaluations").mkdir(parents=True, exist_ok=True)
            config = load_config(run.spec, run.overrides)
            (run.workdir / "evaluations" / "validation.json").write_text(json.dumps({"step": config.steps}))
            (run.workdir / "config.json").write_text(json.dumps(to_dict(config)))
    return cells


ABOUT = {"table": "colours", "date": "2026-12-01", "command": "train"}


def row_of(*runs, rows=1):
    return json.dumps({**ABOUT, "rows": [{"name": "red", "configs": [], "runs": list(runs)}] * rows})


def command(seeds):
    return f"train {seeds}"


def runs(path):
    table = json.loads(path.read_text())
    return {row["name"]: [(run["seed"], run["right"]) for run in row["runs"]] for row in table["rows"]}


@pytest.mark.parametrize("table", [ENCODERS, CHAIN], ids=["encoders", "chain"])
def test_runs_of_several_machines_and_seeds_come_together(table, tmp_path):
    published = tmp_path / "published.json"
    for root, seeds in (("one", [0, 1]), ("other", [2])):
        table.write(tmp_path / root, finish(table, tmp_path / root, seeds), command, published)
    assert runs(published) == {"red": [(0, 0.5), (1, 0.5), (2, 0.5)]}
    # A third machine has nothing; it takes the published runs for finished, and takes none out.
    cells = table.cells(table.config, tmp_path / "third", [1, 7])
    found = table.write(tmp_path / "third", cells, command, published)
    assert [run.get("right") for run in found["rows"][0]["runs"]] == [0.5, None]
    assert runs(published) == {"red": [(0, 0.5), (1, 0.5), (2, 0.5)]}
    assert read_published(published, "colours")["command"] == "train [0, 1, 2]"
    assert found["command"] == "train [1, 7]"


def test_a_row_that_is_configured_otherwise_is_refused_and_stays(tmp_path):
    published = tmp_path / "published.json"
    ENCODERS.write(tmp_path / "a", finish(ENCODERS, tmp_path / "a", [0]), command, published)
    configs = {}
    for override in ("config.log_every=7", "config.steps=7"):
        (cell, _) = ENCODERS.cells(ENCODERS.config, tmp_path / "b", [0], [override])
        configs[override] = {"red": ENCODERS.configs(cell)}
    check_place(published, "colours", configs["config.log_every=7"])  # It changes no result.
    with pytest.raises(UserError, match=r"the row 'red' of another configuration \(config.steps: 350 -> 7\)"):
        check_place(published, "colours", configs["config.steps=7"])
    assert runs(published) == {"red": [(0, 0.5)]}
    # A file that was begun by another configuration meanwhile is refused as well, and stays.
    cells = finish(ENCODERS, tmp_path / "b", [0], overrides=["config.steps=7"])
    with pytest.raises(UserError, match=r"of another configuration"):
        ENCODERS.write(tmp_path / "b", cells, command, published)
    assert runs(published) == {"red": [(0, 0.5)]}


def test_of_two_evaluations_of_a_run_the_later_one_stays(tmp_path):
    published = tmp_path / "published.json"
    cells = finish(ENCODERS, tmp_path / "a", [0])
    for date, right, kept in (("2026-12-01", 0.5, 0.5), ("2026-11-30", 0.1, 0.5), ("2026-12-02", 0.2, 0.2)):
        table = dataclasses.replace(ENCODERS, figures=lambda workdir, d=date, r=right: {"date": d, "right": r})
        table.write(tmp_path / "a", cells, command, published)
        assert runs(published) == {"red": [(0, kept)]}


def test_a_change_of_an_earlier_stage_counts(tmp_path):
    published = tmp_path / "published.json"
    cells = finish(CHAIN, tmp_path / "a", [0])
    CHAIN.write(tmp_path / "a", cells, command, published)
    path = cells[0].before[0].workdir / "config.json"
    path.write_text(path.read_text().replace('"steps": 350', '"steps": 7'))
    assert CHAIN.reason_not_run(cells[0]) == "trained with another configuration than the row's"
    config = json.loads(published.read_text())
    config["rows"][0]["configs"][0]["steps"] = 7
    published.write_text(json.dumps(config))
    with pytest.raises(UserError, match="config.steps: 7 -> 350"):
        check_place(published, "colours", {"red": CHAIN.configs(cells[0])})


def test_rows_that_are_no_longer_there_stay(tmp_path):
    published = tmp_path / "published.json"
    ENCODERS.write(tmp_path / "a", finish(ENCODERS, tmp_path / "a", [0], ("red", "blue")), command, published)
    fewer = dataclasses.replace(ENCODERS, rows={"blue": "demo"})
    fewer.write(tmp_path / "b", fewer.cells(fewer.config, tmp_path / "b", [0]), command, published)
    assert runs(published) == {"blue": [(0, 0.5)], "red": [(0, 0.5)]}


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("[1", DataError, "is not JSON"),
        ('{"rows": 3}', DataError, "is no published table of runs"),
        (
            '{"table": "colours", "rows": [{"name": "red", "runs": []}]}',
            DataError,
            "has a row that is none of a published",
        ),
        ('{"table": "colours", "rows": [{"name": "red", "configs": [], "runs": [3]}]}', DataError, "has a row that is"),
        (
            json.dumps({**ABOUT, "rows": [{"name": "red", "configs": [], "runs": []}]}),
            DataError,
            "has a row that is none of a published",
        ),
        (row_of({"seed": 0}), DataError, "has a row that is none of a published"),
        (row_of(*[{"seed": 0, "date": "x"}] * 2), DataError, "'red': seed 0 stands there twice, as after a merge"),
        (row_of({"seed": 1, "date": "x", "a": {"b": math.nan}}), DataError, "seed 1: 'a/b' is not finite"),
        (row_of({"seed": 0, "date": "x"}, rows=2), DataError, "has the row 'red' twice, as after a merge"),
        ('{"table": "connectors", "rows": []}', UserError, "is the published table 'connectors', not 'colours'"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, text, error, sentence):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(error, match=sentence):
        check_place(tmp_path / "x.json", "colours", {})
    assert (tmp_path / "x.json").read_text() == text


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder; name a JSON file, such as '.*colours.json'"):
        check_place(tmp_path, "colours", {})


def test_a_folder_that_is_missing_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(RunTable, "train", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match="there is no folder .*; make it, or name another"):
        ablate.main(["losses", "--workdir", str(tmp_path / "w"), "--publish", str(tmp_path / "no" / "x.json")])


def test_the_published_demo_is_finished_wherever_it_was_made(tmp_path):
    """``docs/data/demo.json`` as the command reads it."""
    table = TABLES["demo"]
    known = read_published(ROOT / "docs" / "data" / "demo.json", "demo")
    cells = table.cells(table.config, tmp_path, [0, 1, 2])
    assert ["not_run" in table.run_of(cell, known) for cell in cells] == [False, False, False]
