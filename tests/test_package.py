"""The command line ``hilight VERB``, and the package that pip installs."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from hilight_jax import __version__
from hilight_jax.__main__ import VERBS, main

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hilight_jax"


def test_the_table_holds_every_module_that_is_a_command():
    commands = {path.stem for path in PACKAGE.glob("*.py") if 'if __name__ == "__main__":' in path.read_text()}
    assert set(VERBS) == commands - {"__main__"}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_a_verb_runs_its_module(verb, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([verb, "--help"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m hilight_jax.{verb} ")


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_a_verb_exits_as_its_module_does(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--config", "configs/encoder.py:dmo"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: 'dmo' is not a preset. Did you mean 'demo'?")


def test_help_lists_every_verb_and_the_version_is_the_package_s(capsys):
    assert main(["--help"]) == main([]) == 0
    assert set(re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE)) == set(VERBS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hilight_jax {__version__}\n"


def test_an_unknown_verb_is_one_sentence(capsys):
    assert main(["trian", "--config", "x"]) == 2
    assert capsys.readouterr().err.startswith("error: 'trian' is not a verb. Did you mean 'train'? Verbs: generate,")


def test_the_command_line_itself_imports_no_library():
    libraries = "import sys; from hilight_jax.__main__ import main; main(['--help']); print('numpy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", libraries], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "False"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the files in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(PACKAGE, source / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin folder of a new environment that holds the wheel; its requirements are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, wheel], check=True)
    site_packages = next(folder.glob("lib/python*/site-packages"))
    (site_packages / "requirements.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(wheel):
    tracked = subprocess.run(["git", "ls-files", "hilight_jax"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(tracked.stdout.split()) - names == set()
    assert {name.split("/")[0] for name in names} == {"hilight_jax", f"hilight_jax-{__version__}.dist-info"}
    assert {"hilight_jax/py.typed", "hilight_jax/serving/page/index.html"} < names
    assert "hilight_jax/data/clip_vocabulary/merges.txt.gz" in names
    assert any(name.startswith("hilight_jax/formats/exporting/remote_code/modeling_") for name in names)


@pytest.mark.slow
def test_the_installed_command_trains_from_anywhere(installed, tmp_path):
    alone = {**os.environ, "XLA_FLAGS": ""}  # One device, as a user's machine has.

    def run(*arguments):
        command = [installed / "hilight", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True)

    assert run("--version").stdout == f"hilight_jax {__version__}\n"
    found = "import hilight_jax; print(hilight_jax.__file__)"
    where = subprocess.run([installed / "python", "-c", found], cwd=tmp_path, capture_output=True, text=True).stdout
    assert where.startswith(str(installed.parent))
    dry = run("train", "--config", ROOT / "configs" / "encoder.py", "--dry_run")
    assert (dry.returncode, list(tmp_path.iterdir())) == (0, []), dry.stderr
    assert "would be generated" in dry.stderr
    wrong = run("train", "--config", "nowhere.py")
    assert wrong.returncode == 2 and "there is no Python file 'nowhere.py'" in wrong.stderr
