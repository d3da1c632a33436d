"""A new stage is its own files and one row of the table: the commands train, evaluate and show a toy stage."""

import contextlib
import dataclasses
import json
from typing import Literal

import jax.numpy as jnp
import numpy as np
import pytest

from hilight_jax import evaluate, report, train
from hilight_jax.checkpoints.store import Store
from hilight_jax.core.errors import ConfigError
from hilight_jax.core.means import Mean
from hilight_jax.data.config import DataConfig
from hilight_jax.runs.workdir import read_config_as
from hilight_jax.stages import table
from hilight_jax.stages.load_config import load_config, read_config
from hilight_jax.training.metrics import read_metrics
from hilight_jax.training.run_config import RunConfig

CONFIG = """
import ml_collections

def get_config(argument="tiny"):
    return ml_collections.ConfigDict({
        "name": "toy", "stage": "toy", "preset": argument, "steps": 3, "batch_size": 8, "eval_every": 3,
        "optimizer": {"learning_rate": 0.1}, "keep": {"every": 3, "best_metric": "validation/right"},
        "model": {"width": 2}, "data": {"train": "toy:train", "validation": "toy:held-out"},
    })
"""


@dataclasses.dataclass(frozen=True)
class ToyModel:
    width: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyConfig(RunConfig):
    stage: Literal["toy"] = "toy"
    model: ToyModel
    data: DataConfig


class ToyObjective:
    partition_rules = ((r"line/kernel", ()),)
    weights = {"square": 1.0}
    block_size = 1

    def __init__(self, config, mesh):
        self.config = config

    def init_params(self, key):
        return {"line": {"kernel": jnp.zeros(self.config.model.width)}}

    def finish_init(self, params):
        return params

    def clamp(self, params):
        return params

    def loss_terms(self, params, batch):
        errors = (batch["x"] @ params["line"]["kernel"] - 1) ** 2
        return {"square": Mean(errors.sum(), jnp.float32(errors.size))}

    def loss_counts(self, batch):
        return {"square": jnp.float32(batch["x"].shape[0])}

    def example_batch(self, batch_size):
        return {"x": np.ones((batch_size, self.config.model.width), np.float32)}


class ToyStage:
    given = {}

    def __init__(self, config, mesh, workdir):
        self.objective = ToyObjective(config, mesh)
        self._size = config.batch_size

    def open_source(self):
        return range(100)

    def prepare(self, workdir):
        (workdir / "kept.txt").write_text("beside the checkpoints")

    def batches(self, start_step):
        batch = self.objective.example_batch(self._size) | {
            "replaced": np.zeros(self._size, bool),
            "truncated": np.zeros(self._size, bool),
            "index": np.zeros(self._size, int),
        }
        return contextlib.nullcontext(iter(lambda: batch, None))

    def evaluate(self, params, step):
        return {"validation/right": float(np.asarray(params["line"]["kernel"]).sum())}

    def name_of(self, index):
        return str(index)


class ToyEvaluator:
    kind = "a toy"
    options = frozenset()

    def __init__(self, workdir, which):
        store = Store(workdir / "checkpoints", read_only=True)
        self.config, self.step = read_config_as(ToyConfig, workdir), store.resolve(which)
        self._sum = float(store.restore_params(self.step)["line"]["kernel"].sum())

    def evaluate(self, specification, options):
        return {"sum": self._sum}

    @staticmethod
    def table(result):
        return f"the sum is {result['sum']:.3f}"


def write_page(workdir, request):
    (workdir / "page.html").write_text(f"toy of {request.which}")
    return workdir / "page.html", 0


@pytest.fixture
def config(tmp_path, monkeypatch):
    row = table.Row(config=ToyConfig, stage=ToyStage, objective=ToyObjective, evaluator=ToyEvaluator, page=write_page)
    monkeypatch.setitem(table.STAGES, "toy", row)
    path = tmp_path / "toy.py"
    path.write_text(CONFIG)
    return str(path)


def test_one_row_gives_a_stage_to_every_command(config, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert train.main(["--config", config, "--workdir", str(workdir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["latest_step"] == 3
    assert (workdir / "kept.txt").is_file() and read_config(workdir).stage == "toy"
    (trained,) = [record["validation/right"] for record in read_metrics(workdir) if "validation/right" in record]
    assert 0 < trained < 1
    assert evaluate.main(["--checkpoint", str(workdir)]) == 0
    assert capsys.readouterr().out == f"the sum is {trained:.3f}\n"
    written = json.loads((workdir / "evaluations" / "held-out.json").read_text())
    assert written["step"] == 3 and written["sum"] == trained
    assert report.main([str(workdir), "--which", "best"]) == 0
    assert (workdir / "page.html").read_text() == "toy of best"


def test_a_key_that_the_new_stage_does_not_have_is_refused(config):
    with pytest.raises(ConfigError, match="config.model.with is not a known key.*Did you mean 'width'"):
        load_config(config, ["--config.model.with=3"])


def test_a_stage_that_is_not_trained_is_named(tmp_path):
    path = tmp_path / "language_model.py"
    values = {"stage": "language_model", "name": "x", "preset": "", "model": {"gemma": {}}}
    path.write_text(f"import ml_collections\n\ndef get_config():\n    return ml_collections.ConfigDict({values})\n")
    with pytest.raises(ConfigError, match="the stage 'language_model' is not trained; train one of encoder, long_clip"):
        train.main(["--config", str(path), "--workdir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
