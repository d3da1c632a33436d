"""The command: metrics, evaluations and example clips of a run become one page."""

import json

from hilight_jax import report
from tests.evals.coloured_discs import ColouredDiscs, ColourEncoder


def test_it_writes_the_page_with_examples(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "load_encoder", lambda workdir, which: ColourEncoder())
    monkeypatch.setattr(report, "open_source", lambda specification: ColouredDiscs())
    records = [{"step": step, "loss": 5.0 / step, "learning_rate": 1e-4} for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert report.main([str(tmp_path), "--data", "discs", "--num_clips", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == {"page": str(tmp_path / "report" / "index.html"), "examples": 2}
    html = (tmp_path / "report" / "index.html").read_text()
    assert html.count(".gif") == 2 and "loss 2.5" in html
