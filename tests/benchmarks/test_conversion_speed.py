from pathlib import Path

import pytest

from hilight_jax.benchmarks import conversion_speed
from hilight_jax.core.errors import UserError
from hilight_jax.stages.load_config import load_config

CONFIG = load_config("configs/align.py:demo,frames=long_clip")


def write(directory, size):
    directory.mkdir()
    (directory / "weights").write_bytes(bytes(size))


def test_commands_are_compared_with_a_copy_and_nothing_is_left(tmp_path, monkeypatch):
    commands = []

    def peak_memory(command):
        commands.append(command)
        write(Path(command[command.index("--to") + 1]), 2000)
        return 3_000_000_000

    monkeypatch.setattr(conversion_speed, "write_random_original", lambda model, data, place: write(place, 1000))
    monkeypatch.setattr(conversion_speed, "_peak_memory", peak_memory)
    monkeypatch.setattr(conversion_speed, "_seconds_to_disk", lambda work: work() or 4.0)
    monkeypatch.setattr(conversion_speed.shutil, "copytree", lambda source, target: write(target, 1000))
    rates = conversion_speed.measure(CONFIG, tmp_path, "hilight,stablehlo")
    workdir = str(tmp_path / "workdir")
    assert commands == [
        ["convert", str(tmp_path / "source" / "hilight"), "--to", workdir],
        ["export", workdir, "--format", "hilight", "--to", str(tmp_path / "hilight"), "--no_fingerprint"],
        ["export", workdir, "--format", "stablehlo", "--to", str(tmp_path / "stablehlo"), "--no_fingerprint"],
    ]
    speed = {"seconds": 4.0, "gb_per_second": 5e-7, "share_of_copy": 2.0, "peak_memory_gb": 3.0}
    assert rates == {
        **{"source_gb": 1e-6, "copy_seconds": 4.0, "copy_gb_per_second": 2.5e-7},
        **dict.fromkeys(("convert", "export hilight", "export stablehlo"), speed),
    }
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion_speed, "disk_space", lambda model: 10**21)
    with pytest.raises(UserError, match="needs 1000000000000 GB and has .* name a larger disk by --place"):
        conversion_speed.measure(CONFIG, tmp_path, "hilight")


def test_the_peak_of_memory_is_that_of_the_command_and_its_failure_one_sentence():
    assert 10**7 < conversion_speed._peak_memory(["plan", "--help"]) < 10**10
    with pytest.raises(UserError, match="'python -m hilight_jax.plan --nonsense' failed"):
        conversion_speed._peak_memory(["plan", "--nonsense"])
