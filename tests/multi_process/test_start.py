"""What keeps processes from starting together is one sentence on each of them, before the first step."""

import pytest

from tests.multi_process.job import encoder, job

pytestmark = pytest.mark.slow


def assert_refused(arguments, count, *parts, code=2, **which):
    with job(arguments, count, **which) as started:
        codes, said = started.finish()
    assert codes == [code] * len(codes), said
    for text in said:
        (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
        assert all(part in line for part in parts), text
        assert "Traceback" not in text and "Check failure" not in text


def test_a_host_that_never_arrives_is_named(data_dir, tmp_path):
    arguments = [*encoder(tmp_path, data_dir), "--arrival_timeout", "5"]
    assert_refused(arguments, 2, "process 1 of 2 did not arrive within 5 s", code=1, present=[0])


def test_hosts_with_another_configuration_are_named(data_dir, tmp_path):
    arguments = encoder(tmp_path / "run", data_dir)
    assert_refused(arguments, 2, "configuration on process 1", each={1: ["--config.seed=1"]})
    assert not (tmp_path / "run").exists()


def test_hosts_that_do_not_see_the_workdir_are_named(data_dir, tmp_path):
    arguments = encoder(tmp_path / "run", data_dir)
    elsewhere = ["--workdir", str(tmp_path / "other")]
    assert_refused(arguments, 2, "process 1 of 2 cannot see what process 0 writes", each={1: elsewhere})
