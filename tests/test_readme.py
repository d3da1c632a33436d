"""What the README tells people to type exists."""

import importlib
import pathlib
import re
import shlex

import pytest

from hilight_jax.data.manifest import open_manifest
from hilight_jax.stages.load_config import load_config

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.partition("  #")[0].strip()
    for _, block in BLOCKS
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("python -m hilight_jax.")
]
# Words of capitals that mean themselves.
ENVIRONMENT = {"HILIGHT_API_KEYS", "HILIGHT_GOLDENS", "JAX_PLATFORMS", "XLA_FLAGS"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_the_options_that_it_is_shown_with(command, capsys):
    verb, *arguments = shlex.split(command.removeprefix("python -m hilight_jax."))
    main = importlib.import_module(f"hilight_jax.{verb}").main
    with pytest.raises(SystemExit) as exit_:
        main([*(arguments[:1] if verb == "benchmark" else []), "--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    options = [a.partition("=")[0] for a in arguments if a.startswith("--") and not a.startswith("--config.")]
    assert [option for option in options if not re.search(rf"{option}\b", shown)] == []


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--config " in command])
def test_a_command_sets_keys_that_the_config_has(command):
    arguments = shlex.split(command)
    load_config(arguments[arguments.index("--config") + 1], [a for a in arguments if a.startswith("--config.")])


def test_every_file_linked_to_exists():
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", README)]
    relative = [target for target in targets if target and not target.startswith(("http://", "https://"))]
    assert relative and [target for target in relative if not (ROOT / target).exists()] == []


def test_every_measured_figure_is_there():
    assert "<!-- measured" not in README


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "configs").glob("*.py"))], ids=lambda p: p.name)
def test_no_placeholder_was_left(path):
    text = path.read_text(encoding="utf-8")
    words = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|^[A-Z]{2,}$", text, re.MULTILINE))
    constants = set(re.findall(r"^([A-Z_]+) =", text, re.MULTILINE))
    assert words - constants - ENVIRONMENT == set()


def test_every_make_target_exists():
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z][\w-]*)", README)) <= targets


def test_the_manifest_shown_can_be_opened(tmp_path):
    lines = [line for _, block in BLOCKS for line in block.splitlines() if line.startswith("{")]
    (tmp_path / "clips.jsonl").write_text("\n".join(lines))
    first, second = open_manifest(str(tmp_path / "clips.jsonl"))
    assert first.captions[0].text[slice(0, 14)] == "the red 3-ball" and len(second.captions) == 2


def test_the_conversion_shown_takes_ten_lines_and_is_python():
    (code,) = [block for language, block in BLOCKS if language == "python" and "csv" in block]
    compile(code, "README.md", "exec")
    assert len([line for line in code.splitlines() if line]) <= 10
