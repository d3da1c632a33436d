"""The command on films that are no billiards: what it prints, stores and refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hilight_jax
from hilight_jax import index
from hilight_jax.archive.store import open_store, writing
from hilight_jax.core.errors import ConfigError, DataError, UserError
from tests.archive.films import write_film, write_films
from tests.core.processes import free_port
from tests.serving.workdirs import make_encoder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with films, a tiny encoder, and an index."""
    root = tmp_path_factory.mktemp("archive")
    make_encoder(root / "encoder")
    write_films(root / "films", 3)
    index.main(arguments(root, root / "index"))
    return root


def arguments(root, to, *more):
    return [str(root / "films"), "--to", str(to), "--windows", "1", "--checkpoint", str(root / "encoder"), *more]


def rows_of(uri):
    table = open_store(str(uri)).table.to_arrow()
    return table.sort_by([("film", "ascending"), ("number", "ascending")]).to_pylist()


def run(root, to, *more):
    """Starts the command as a process of its own."""
    env = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "hilight_jax.index", *arguments(root, to, *more)]
    return subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    """The rows of a run that nothing disturbs; programs of this test session round otherwise."""
    uri = tmp_path_factory.mktemp("undisturbed") / "index"
    process = run(world, uri)
    assert process.communicate(timeout=120) and process.returncode == 0
    return rows_of(uri)


def test_vectors_are_those_of_the_model(world):
    rows = rows_of(world / "index")
    assert len(rows) == 1 + 2 + 3
    model = hilight_jax.load(world / "encoder")
    short = next(row for row in rows if row["seconds"] == pytest.approx(1.0))
    np.testing.assert_allclose(short["vector"], model.encode_video(short["film"]), atol=2e-5)


def test_the_counts_are_one_object(world, tmp_path, capsys):
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films" / "a.mp4", seconds=2)
    (tmp_path / "films" / "b.mp4").write_bytes(b"no film")
    (tmp_path / "films" / "notes.txt").write_text("x")
    given = arguments(world, tmp_path / "index", "--json", "--workers", "1")
    index.main([str(tmp_path / "films"), *given[1:]])
    said = capsys.readouterr().out
    result = json.loads(said.splitlines()[-1])
    assert (result["films"], result["pieces"], result["pieces_of_index"]) == (1, 2, 2)
    assert list(result["damaged"]) == [str(tmp_path / "films" / "b.mp4")] and result["left_out"] == {".txt": 1}
    assert result["times_real_time"] > 0 and "damaged: 1" in said and "left out" in said


def test_an_index_is_gone_on_with_by_its_own_model_and_windows(world, capsys):
    before = rows_of(world / "index")
    index.main([str(world / "films"), "--to", str(world / "index")])
    assert "3 indexed before" in capsys.readouterr().out and rows_of(world / "index") == before


def test_another_model_and_other_windows_are_refused(world, tmp_path):
    from tests.serving import workdirs
    from tests.stages.runs import write_run
    from tests.stages.tiny import tiny_config

    params = hilight_jax.load(world / "encoder").encoder.params
    write_run(tmp_path / "other", tiny_config(), workdirs.jax.tree.map(lambda x: x + 1, params))
    with pytest.raises(DataError, match="was made with another model"):
        index.main([*arguments(world, world / "index")[:-1], str(tmp_path / "other")])
    with pytest.raises(DataError, match="was made with rule windows 1,1, not windows 2,2"):
        index.main([*arguments(world, world / "index"), "--windows", "2"])


def test_a_second_run_is_refused_while_the_first_writes(world):
    with writing(str(world / "index"), 0), pytest.raises(UserError, match="another run writes to"):
        index.main(arguments(world, world / "index"))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--workers", "0"], "--workers is 0"),
        (["--time_limit", "0"], "--time_limit is 0"),
        (["--batch_size", "-1"], "--batch_size is -1"),
        (["--windows", "2,3"], "--windows is '2,3'"),
    ],
)
def test_numbers_that_cannot_be_are_refused(world, tmp_path, more, sentence):
    with pytest.raises((UserError, ConfigError), match=sentence):
        index.main(arguments(world, tmp_path / "index", *more))


@pytest.mark.slow
def test_the_command_is_killed_resumed_and_stopped(world, undisturbed, tmp_path):
    for moment in (1.0, 0.2, 0.0):
        process = run(world, tmp_path / "index", "--workers", "1")
        for line in process.stdout:
            if "new films" in line:
                break
        time.sleep(moment)
        process.kill()
        process.wait()
    process = run(world, tmp_path / "index")
    while "new films" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 75 and "the same command goes on" in said and "Traceback" not in said
    last = run(world, tmp_path / "index")
    assert last.communicate(timeout=120) and last.returncode == 0
    assert rows_of(tmp_path / "index") == undisturbed


@pytest.mark.slow
def test_two_processes_make_the_rows_of_one(world, undisturbed, tmp_path):
    port = free_port()
    several = ["--coordinator_address", f"localhost:{port}", "--num_processes", "2", "--process_id"]
    both = [run(world, tmp_path / "index", *several, str(i)) for i in range(2)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert rows_of(tmp_path / "index") == undisturbed


@pytest.mark.slow
def test_memory_does_not_grow_with_the_film(tmp_path):
    """Of the process that reads: 2 minutes against 60, of 16 frames a second."""
    program = (
        "import resource, sys\n"
        "from hilight_jax.archive.film_reader import FilmReader\n"
        "from hilight_jax.data.films.reader import PieceReader\n"
        "from hilight_jax.archive.films import list_films\n"
        "(film,) = list_films(sys.argv[1]).films\n"
        "print(FilmReader(PieceReader('windows 5,5', 6, 64))(film, lambda part: None).seconds)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for minutes in (2, 60):
        path = tmp_path / str(minutes) / "film.mp4"
        path.parent.mkdir()
        write_film(path, seconds=60 * minutes, rate=16, size=(96, 128))
        said = subprocess.check_output([sys.executable, "-c", program, str(path.parent)], cwd=ROOT, text=True)
        seconds, peak = map(float, said.split())
        assert seconds == pytest.approx(60 * minutes, rel=1e-3)
        peaks.append(peak)
    assert peaks[1] < 1.1 * peaks[0], peaks
