"""launch/gpu.sh on one host and on several."""

import shlex

import pytest

from tests.launch.conftest import LAUNCH, ROOT

FLAGS = ("--config", "configs/encoder.py:b16", "--workdir", "/nfs/runs/my run")
SEVERAL = (*FLAGS, "--hosts", "2", "--coordinator", "10.0.0.1:1234")


def printed(bench, *words):
    ended = bench.run("gpu.sh", *words, "--dry-run", "--", "--config.steps=5")
    assert ended.returncode == 0 and bench.calls() == []
    return [shlex.split(line) for line in ended.stdout.splitlines()]


def test_one_host_installs_the_cuda_extra_and_trains_under_the_loop(bench):
    install, train = printed(bench, *FLAGS)
    venv = f"{ROOT}/.venv-cuda"
    assert install == ["bash", f"{LAUNCH}/on_worker/make_venv.sh", venv, f"{ROOT}[cuda]"]
    loop = ["env", "bash", f"{LAUNCH}/on_worker/train_loop.sh", "10", f"{venv}/bin/python", "-m", "hilight_jax.train"]
    assert train == [*loop, *FLAGS, "--data_dir", "data", "--config.steps=5"]


def test_several_hosts_are_told_where_to_meet(bench):
    _, train = printed(bench, *SEVERAL, "--host", "1")
    meeting = ["JAX_COORDINATOR_ADDRESS=10.0.0.1:1234", "JAX_NUM_PROCESSES=2", "JAX_PROCESS_ID=1"]
    assert train[:4] == ["env", *meeting]


def test_films_are_indexed_in_place_of_a_training(bench):
    install, index = printed(bench, "--films", "/nfs/my films", "--workdir", "/nfs/index")
    assert install[-1] == f"{ROOT}[cuda,archive]"
    assert index[-6:] == ["-m", "hilight_jax.index", "/nfs/my films", "--to", "/nfs/index", "--config.steps=5"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--workdir", "w"), "the configuration is missing"),
        (("--config", "c"), "the working directory is missing"),
        (SEVERAL, "the number of this host is missing"),
        ((*SEVERAL, "--host", "2"), "2 hosts are numbered 0 to 1"),
        ((*FLAGS, "--hosts", "2", "--host", "0", "--coordinator", "here"), "must be HOST:PORT"),
        (("--gpus", "8"), "'--gpus' is no option"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_2(bench, words, sentence):
    ended = bench.run("gpu.sh", *words)
    assert ended.returncode == 2 and sentence in ended.stderr and bench.calls() == []
