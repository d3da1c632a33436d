"""The pages of results, from tables that are made up and from the published ones."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hilight_jax import ablate
from hilight_jax.core.errors import DataError, UserError
from hilight_jax.experiments.ablations import TABLES
from hilight_jax.experiments.report_claims import CLAIMS, SPARC_LOSS, TRAINING_LOSS
from hilight_jax.experiments.results_page import DATA, MAPS, TABLES_SHOWN, write_results
from hilight_jax.experiments.word_map_grid import COLUMNS, WordMaps, read_maps, save_maps

ROOT = Path(__file__).resolve().parents[2]
OF_NAME = {table.name: table for table in TABLES.values()}
PARTS = (
    "verdicts", "verdicts-in-short", "claims", "claims-counted", "losses", "medium", "connectors",
    "connectors-in-short", "demo", "demo-kinds",
)  # fmt: skip


def made_up(name):
    """A table in which every row that some claim puts above another has 0.8, and else 0.3, with two seeds each."""
    better = {(claim.table, one.better) for claim in CLAIMS for one in claim.comparisons}
    lower = {one.figure for claim in CLAIMS for one in claim.comparisons if one.lower}
    rows = []
    for row in OF_NAME[name].rows:
        value = 0.8 if (name, row) in better else 0.3
        flat = {}
        for figure in (one.figure for claim in CLAIMS if claim.table == name for one in claim.comparisons):
            flat[figure] = 1 - value if figure in lower else value
        flat |= {
            "validation/ball_shuffled_word": 0.1,
            "validation/ball_random_ball": 0.28,
            "controls/most_frequent": 0.33,
        }
        curves = {"within_clip": [[10, 2.0], [20, value]], "gradients/vision/block 1/cosine": [[10, 0.1], [20, 0.2]],
                  "next_token": [[10, 3.0], [20, value]]}  # fmt: skip
        extra = {"right": value, "types": {"hit": value, "in_view": 0.9}, "curves": curves}
        runs = [{"seed": seed, "date": "2026-12-01 10:00", **flat, **extra} for seed in (0, 1)]
        rows.append({"name": row, "configs": [], "runs": runs})
    return {"table": name, "date": "2026-12-01", "command": "made up", "rows": rows}


@pytest.fixture
def project(tmp_path):
    """A project with one page that has every part."""
    data = tmp_path / "docs" / "data"
    data.mkdir(parents=True)
    for name in TABLES_SHOWN:
        (data / f"{name}.json").write_text(json.dumps(made_up(name)))
    frames = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    maps = np.arange(5 * 2 * 16, dtype=np.uint8).reshape(5, 2, 4, 4)
    place = np.full((2, 2), 10.0), np.full(2, 4.0), np.array([True, False])
    save_maps(WordMaps("the red ball", frames, ["0.0 s", "0.5 s"], *place, list("abcde"), maps), data / "word-maps.npz")
    text = "# Results\n\n" + "\n\n".join(f"Of {part}:\n\n<!-- part: {part} -->\nold\n<!-- end -->" for part in PARTS)
    (tmp_path / "docs" / "results.md").write_text(text)
    (tmp_path / "README.md").write_text("# A project without parts\n")
    return tmp_path


def test_claims_are_about_rows_that_are_trained():
    for claim in CLAIMS:
        for one in claim.comparisons:
            assert one.better in OF_NAME[claim.table].rows, claim.title
            assert not isinstance(one.worse, str) or one.worse in OF_NAME[claim.table].rows, claim.title


def test_a_page_has_a_verdict_of_every_claim_and_every_run(project, capsys):
    assert ablate.main(["results", "--root", str(project)]) == 0
    said = capsys.readouterr().out.splitlines()
    page = (project / "docs" / "results.md").read_text()
    assert len(said) == len(CLAIMS) and "15. One query for each thing: holds" in said
    for number, (claim, line) in enumerate(zip(CLAIMS, said, strict=True), 1):
        name = f"{number}. {claim.title}"
        assert f"| {name} | {line.rpartition(': ')[2]} |" in page and f"\n### {name}\n" in page
    assert "| 15a | pointing | the demo: across clips, one query per object: 0.800 | the demo, one query per" in page
    assert "| +0.500 | +0.500 to +0.500 | 2 and 2 | holds * |" in page
    assert "| SPARC as published, last block, content (setting 2): 0.800 | 0 | +0.800 |" in page
    assert "| patches averaged over a frame (the demo) | 0.800 (0.800 to 0.800) | not run | 0.90 (0.90" in page
    assert "\n| 15. One query for each thing | holds | pointing | +0.50 (+0.50 to +0.50) |\n" in page
    assert "made up" in page and "\nold\n" not in page and page.startswith("# Results\n\nOf verdicts:\n")
    assert (project / "README.md").read_text() == "# A project without parts\n"


def test_charts_show_every_comparison_and_every_row(project):
    write_results(project)
    charts = {path.stem: path.read_text() for path in (project / "docs" / "charts").glob("*.svg")}
    assert all(chart.startswith("<svg xmlns") for chart in charts.values())
    comparisons = [one for claim in CLAIMS for one in claim.comparisons]
    of_shares = [one for one in comparisons if one.figure not in (SPARC_LOSS, TRAINING_LOSS)]
    assert charts["differences"].count("<circle") == len(of_shares) < len(comparisons)
    assert "15a" in charts["differences"] and "a random visible ball, 0.28" in charts["pointing"]
    assert charts["pointing"].count("<rect") == len(OF_NAME["controls"].rows)
    assert charts["local-loss"].count("<polyline") == 3 and charts["gradients"].count("<polyline") == 2
    grid = Image.open(project / "docs" / "charts" / "word-maps.gif")
    assert grid.n_frames == 2 and COLUMNS == 5 and grid.width > 4 * grid.height / 2, "five tiles in a line"


def test_what_was_not_run_is_said_and_not_drawn(project):
    path = project / "docs" / "data" / "controls.json"
    table = json.loads(path.read_text())
    table["rows"] = [row for row in table["rows"] if row["name"] != "no local loss"]
    path.write_text(json.dumps(table))
    assert write_results(project)[0] == "1. Spatial correspondence after the encoder: not run"
    assert "no local loss | | | | not run |" in (project / "docs" / "results.md").read_text()


def test_what_is_missing_names_the_command_that_makes_it(project):
    data = project / "docs" / "data"
    (data / "word-maps.npz").unlink()
    with pytest.raises(UserError, match=r"word-maps.npz' is missing; make it with: python -m hilight_jax.ablate maps"):
        write_results(project)
    (data / "controls.json").unlink()
    with pytest.raises(UserError, match=r"controls.json' is missing; make it with: python -m .* losses --publish"):
        write_results(project)


def test_a_folder_without_parts_is_no_project(tmp_path):
    with pytest.raises(UserError, match=r"has no README.md or docs/\*.md with a part of results; .* --root"):
        write_results(tmp_path)


def test_damaged_maps_are_named(tmp_path):
    (tmp_path / "word-maps.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match=r"word-maps.npz' holds no word maps \(.*\); restore it, or make it anew"):
        read_maps(tmp_path / "word-maps.npz")


def test_a_table_without_a_run_is_named(project):
    path = project / "docs" / "data" / "demo.json"
    path.write_text(json.dumps({**made_up("demo"), "rows": []}))
    write_results(project)
    assert "| pointing at the cue ball | not run | not run |" in (project / "docs" / "results.md").read_text()


def test_short_runs_and_runs_that_diverged_have_no_curve(project):
    path = project / "docs" / "data" / "controls.json"
    table = made_up("controls")
    for row in table["rows"]:
        row["runs"][0]["curves"]["within_clip"] = [[10, math.nan], [20, 0.5]]
    path.write_text(json.dumps(table))
    stale = project / "docs" / "charts" / "local-loss.svg"
    stale.parent.mkdir()
    stale.write_text("of earlier runs")
    write_results(project)
    assert not stale.exists()


def test_nothing_is_written_when_a_page_is_wrong(project):
    (project / "docs" / "wrong.md").write_text("<!-- part: Verdicts -->\n<!-- end -->\n")
    with pytest.raises(
        DataError, match="wrong.md' has a part 'Verdicts'; parts are: claims, claims-counted, connectors"
    ):
        write_results(project)
    assert not (project / "docs" / "charts").exists()
    (project / "docs" / "wrong.md").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="wrong.md' is not UTF-8"):
        write_results(project)


def test_the_pages_of_this_project_are_up_to_date(tmp_path):
    for name in ("README.md", "docs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    charts = tmp_path / "docs" / "charts"
    shutil.rmtree(charts)
    write_results(tmp_path)
    for path in [*charts.iterdir(), *tmp_path.glob("*.md"), *(tmp_path / "docs").glob("*.md")]:
        known = ROOT / path.relative_to(tmp_path)
        if path.suffix == ".gif":  # Its colours depend on the version of pillow.
            assert Image.open(path).size == Image.open(known).size
        else:
            assert path.read_bytes() == known.read_bytes(), f"{known}: python -m hilight_jax.ablate results"
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "not run" not in text
    shown = set(re.findall(r"\(charts/([^)]+)\)", text))
    assert shown == {path.name for path in charts.iterdir()} == {path.name for path in (ROOT / "docs/charts").iterdir()}
    maps, losses = (ROOT / DATA / name for name in (f"{MAPS}.npz", "controls.json"))
    assert read_maps(maps).rows == [row["name"] for row in json.loads(losses.read_text())["rows"]]
