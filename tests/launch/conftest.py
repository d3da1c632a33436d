"""A bench for the launch scripts: programs of the cloud are stubs that record their words and give scripted answers."""

import dataclasses
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
PROGRAMS = ("gcloud", "kubectl", "docker", "nvidia-smi", "sudo", "gcsfuse", "mountpoint", "apt-get")
STUB = """#!{python}
import json, pathlib, sys
bench = pathlib.Path({bench!r})
words = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
with open(bench / "calls.jsonl", "a") as calls:
    calls.write(json.dumps(words) + "\\n")
answers = json.loads((bench / "answers.json").read_text())
for number, (words_needed, text, code) in enumerate(answers):
    if all(any(needed in word for word in words) for needed in words_needed):
        del answers[number]
        (bench / "answers.json").write_text(json.dumps(answers))
        (sys.stderr if code else sys.stdout).write(text + "\\n")
        sys.exit(code)
"""


@dataclasses.dataclass
class Bench:
    """Runs launch scripts where every program of the cloud is a stub."""

    path: Path

    @property
    def home(self):
        return self.path / "home"

    def answer(self, *answers: tuple[list[str], str, int]) -> None:
        """Each (words, text, exit code) answers the first call that has all the words, once."""
        (self.path / "answers.json").write_text(json.dumps(answers))

    def run(self, script: str, *words: str, timeout: float = 20, **environment: str) -> subprocess.CompletedProcess:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HILIGHT_")}
        kept |= {"PATH": f"{self.path / 'bin'}:/usr/bin:/bin", "HOME": str(self.home)} | environment
        return subprocess.run(
            ["bash", str(LAUNCH / script), *words],
            env=kept,
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def calls(self) -> list[list[str]]:
        recorded = self.path / "calls.jsonl"
        return [json.loads(line) for line in recorded.read_text().splitlines()] if recorded.exists() else []


@pytest.fixture
def bench(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "answers.json").write_text("[]")
    (tmp_path / "hilight.tar.gz").write_bytes(b"")
    for name in PROGRAMS:
        stub = tmp_path / "bin" / name
        stub.write_text(STUB.format(python=sys.executable, bench=str(tmp_path)))
        stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    return Bench(tmp_path)
