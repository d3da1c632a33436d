"""Real processes find each other, agree, and name those that are missing or differ."""

import pytest

from hilight_jax.core import distributed
from hilight_jax.core.distributed import code_hash, library_versions
from hilight_jax.core.errors import DistributedError
from tests.core.processes import run_processes


def assert_one_sentence(results, *parts, code=2):
    for status, said in results:
        assert status == code, said
        assert "Traceback" not in said and "Check failure" not in said, said
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, said
        for part in parts:
            assert part in errors[0]


def test_one_process_needs_nothing(tmp_path):
    distributed.initialize()
    distributed.agree({"code": "1"})
    distributed.check_shared(tmp_path / "none")
    distributed.exchange("nothing", None)
    assert distributed.exchange("a value", [1]) == [[1]]
    assert distributed.together("work", lambda: 5) == 5
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES is 'two', but must be a whole number"),
        ({"JAX_NUM_PROCESSES": "2"}, "give --coordinator_address or JAX_COORDINATOR_ADDRESS and --process_id or"),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"},
            "process_id is 2, but must be between 0 and num_processes - 1, 1",
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "here", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"},
            "address is 'here', but must be HOST:PORT",
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:99999", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"},
            "address is 'a:99999', but must be HOST:PORT of process 0, the port from 1 to 65535",
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "0", "JAX_PROCESS_ID": "0"},
            "num_processes is 0, but must be at least 1",
        ),
    ],
)
def test_what_is_given_by_halves_is_a_sentence(variables, sentence, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DistributedError, match=sentence):
        distributed.initialize()


@pytest.mark.slow
def test_a_process_that_does_not_arrive_is_named_by_all_others():
    main = "def main():\n    start(timeout=6.0)\n"
    assert_one_sentence(run_processes(main, 4, [0, 2]), "processes 1, 3 of 4 did not arrive within 6 s", code=1)


@pytest.mark.slow
def test_a_missing_coordinator_is_named():
    main = "def main():\n    start(timeout=3.0)\n"
    assert_one_sentence(run_processes(main, 2, [1]), "process 0 of 2, the coordinator localhost:", "within 3 s", code=1)


@pytest.mark.slow
def test_two_processes_of_one_number_are_refused():
    main = "def main():\n    start(timeout=20.0)\n"
    assert_one_sentence(run_processes(main, 3, [0, 1, 1]), "two processes were started as process 1 of 3")


@pytest.mark.slow
def test_processes_exchange_values_and_wait():
    main = """
def main():
    start()
    for turn in range(4):
        assert distributed.exchange("turn", [turn, index]) == [[turn, 0], [turn, 1]]
    distributed.agree({"code": "same"})
    distributed.exchange("the end", None)
    print("all well")
"""
    for status, said in run_processes(main, 2):
        assert status == 0 and "all well" in said, said


@pytest.mark.slow
def test_what_differs_is_named_with_its_processes():
    main = """
def main():
    start()
    distributed.agree({"code": "new" if index else "old", "configuration": "same"})
"""
    results = run_processes(main, 3)
    assert_one_sentence(results, "differ from process 0: code on processes 1, 2 (new instead of old)")


@pytest.mark.slow
def test_a_directory_of_ones_own_is_not_shared(tmp_path):
    main = f"""
def main():
    start()
    distributed.check_shared(pathlib.Path({str(tmp_path)!r}) / "shared")
    distributed.check_shared(pathlib.Path({str(tmp_path)!r}) / str(index), seconds=1.0)
"""
    assert_one_sentence(run_processes(main, 2), "process 1 of 2 cannot see what process 0 writes to", str(tmp_path))
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.slow
def test_a_failure_on_one_process_ends_all_with_its_sentence():
    main = """
def work():
    if index == 1:
        raise UserError("the file is missing.")

def main():
    start()
    distributed.together("opening the data", work)
"""
    assert_one_sentence(run_processes(main, 2), "the file is missing.")


@pytest.mark.slow
def test_a_process_that_does_not_answer_is_named():
    main = """
def main():
    start()
    distributed.exchange("the start", None)
    if index:
        time.sleep(8.0)
    distributed.exchange("the first step", None, timeout=2.0)
"""
    results = run_processes(main, 2)
    assert_one_sentence(results[:1], "process 1 of 2 did not answer within 2 s (the first step)", code=1)
    assert results[1][0] != 0


def test_the_identity_of_a_run_is_of_the_files_and_the_versions():
    assert len(code_hash()) == 16 and code_hash() == code_hash()
    assert "jax " in library_versions() and "flax " in library_versions()
