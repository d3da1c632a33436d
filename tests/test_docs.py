"""What README.md, CONTRIBUTING.md, ARCHITECTURE.md, launch/README.md and the pages of docs/ name exists."""

import functools
import importlib
import pathlib
import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from hilight_jax.api import Model
from hilight_jax.data.annotation_files import open_manifest
from hilight_jax.stages.load_config import load_config

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "launch/README.md")),
    *sorted(DOCS.rglob("*.md")),
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
# Commands whose first argument is a command of its own, with its own --help.
OF_SEVERAL_PARTS = ("ablate", "benchmark")
# Words of capitals that mean themselves.
ENVIRONMENT = {"HILIGHT_API_KEYS", "HILIGHT_GOLDENS", "JAX_PLATFORMS", "XLA_FLAGS"}


def text_of(page: pathlib.Path) -> str:
    return page.read_text(encoding="utf-8")


def with_included(page: pathlib.Path) -> str:
    """A page as mkdocs builds it: `--8<-- "FILE"` stands for a file at the root of the repository."""
    return re.sub(r'^--8<-- "(.+)"$', lambda match: text_of(ROOT / match[1]), text_of(page), flags=re.MULTILINE)


def blocks(page: pathlib.Path) -> list[tuple[str, str]]:
    """Language and text of every code block; in a list a block is indented."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", text_of(page), re.DOTALL | re.MULTILINE)
    return [(language, re.sub(f"^{indent}", "", block, flags=re.MULTILINE)) for indent, language, block in found]


def spans(page: pathlib.Path) -> list[str]:
    """Code within lines."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


def lines_of_code(page: pathlib.Path) -> list[str]:
    """Command lines of the code blocks and of the prose, without their comments."""
    shown = [line for _, block in blocks(page) for line in block.replace("\\\n", "").splitlines()]
    return [line.partition("  #")[0].strip() for line in [*shown, *spans(page)]]


def commands() -> Iterator[str]:
    """Every complete command of this package that a page shows, as `python -m hilight_jax.VERB ...`."""
    for page in PAGES:
        for line in lines_of_code(page):
            line = re.sub(r"^hilight (?=[a-z])", "python -m hilight_jax.", line)
            if line.startswith("--config configs/"):  # The table of plans leaves the command out.
                line = f"python -m hilight_jax.plan {line}"
            if re.match(r"python -m hilight_jax\.[a-z]+ [^.]", line) and not line.endswith("..."):
                yield line


def scripts() -> Iterator[str]:
    """Every use of a script of launch/ that a page shows."""
    for page in PAGES:
        for line in lines_of_code(page):
            yield from (part.strip() for part in line.split("&&") if re.match(r"launch/\S+\.sh ", part.strip()))


COMMANDS = sorted(set(commands()))
SCRIPTS = sorted(set(scripts()))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_the_options_that_it_is_shown_with(command, capsys):
    verb, *arguments = shlex.split(command.removeprefix("python -m hilight_jax."))
    main = importlib.import_module(f"hilight_jax.{verb}").main
    with pytest.raises(SystemExit) as exit_:
        main([*(arguments[:1] if verb in OF_SEVERAL_PARTS else []), "--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    options = [a.partition("=")[0] for a in arguments if a.startswith("--") and not a.startswith("--config.")]
    assert [option for option in options if not re.search(rf"{option}\b", shown)] == []


@pytest.mark.parametrize("command", [command for command in (*COMMANDS, *SCRIPTS) if "--config configs" in command])
def test_a_command_sets_keys_that_the_config_has(command):
    arguments = shlex.split(command)
    load_config(arguments[arguments.index("--config") + 1], [a for a in arguments if a.startswith("--config.")])


@pytest.mark.parametrize("command", SCRIPTS)
def test_a_script_has_the_options_that_it_is_shown_with(command):
    script, *arguments = shlex.split(command.replace("[", " ").replace("]", " "))
    help_ = subprocess.run([ROOT / script, "--help"], capture_output=True, text=True, check=True).stdout
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    options = [a.partition("=")[0] for a in own if a.startswith("--")]
    assert [option for option in options if not re.search(rf"{option}\b", help_)] == []


@functools.cache
def anchors(page: pathlib.Path) -> set[str]:
    prose = re.sub(r"^( *)```.*?^\1```$", "", with_included(page), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    for target in targets:
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_an_included_file_has_no_links_that_its_page_would_break():
    for page in DOCS.rglob("*.md"):
        for name in re.findall(r'^--8<-- "(.+)"$', text_of(page), re.MULTILINE):
            targets = re.findall(r"\]\(([^)\s]+)\)", text_of(ROOT / name))
            assert [target for target in targets if not target.startswith(("https://", "#"))] == [], name


@each_page
def test_every_path_named_exists(page):
    named = [span for span in spans(page) if re.match(r"(hilight_jax|tests|configs|launch|docs)/", span)]
    paths = [span.partition(":")[0] for span in named if not re.search(r"[*<\s]|NAME", span)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@each_page
def test_every_name_of_the_api_exists(page):
    for name in re.findall(r"^::: (\S+)|\]\[(hilight_jax[\w.]+)\]", text_of(page), re.MULTILINE):
        module, _, attribute = "".join(name).rpartition(".")
        try:
            importlib.import_module("".join(name))
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), attribute), name


@each_page
def test_no_figure_is_missing(page):
    assert "<!-- measured" not in text_of(page)
    assert [line for line in text_of(page).splitlines() if line.startswith("|") and "not run" in line] == []


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "configs").glob("*.py"))], ids=lambda p: p.name)
def test_no_placeholder_was_left(path):
    text = text_of(path)
    words = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|^[A-Z]{2,}$", text, re.MULTILINE))
    constants = set(re.findall(r"^([A-Z_]+) =", text, re.MULTILINE))
    assert words - constants - ENVIRONMENT == set()


@functools.cache
def names_in_code() -> set[str]:
    this = pathlib.Path(__file__).resolve()
    files = [path for room in ("hilight_jax", "tests") for path in (ROOT / room).rglob("*.py") if path != this]
    files += [*(ROOT / "launch").rglob("*.sh"), ROOT / "Makefile", ROOT / ".ci" / "run"]
    return {word for path in files for word in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text_of(path))}


@each_page
def test_every_environment_variable_and_constant_is_one_of_the_code(page):
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text_of(page))) - names_in_code() == set()


@each_page
def test_every_make_target_and_extra_exists(page):
    makefile, setup = text_of(ROOT / "Makefile"), text_of(ROOT / "setup.py")
    code = "\n".join([*lines_of_code(page), *(block for _, block in blocks(page))])
    targets = set(re.findall(r"^(\w[\w-]*):", makefile, re.MULTILINE))
    assert set(re.findall(r"^make ([a-z][\w-]*)", code, re.MULTILINE)) <= targets
    named = re.findall(r"(?:\.\[|EXTRAS=)([a-z]+(?:,[a-z]+)*)", text_of(page))
    known = set(re.findall(r'^        "(\w+)": ', setup.partition("extras_require")[2], re.MULTILINE))
    assert {extra for names in named for extra in names.split(",")} <= known


@each_page
def test_python_shown_is_python_and_calls_what_there_is(page):
    for code in (block for language, block in blocks(page) if language == "python"):
        compile(code, str(page), "exec")
        assert set(re.findall(r"\bmodel\.(\w+)\(", code)) <= set(dir(Model))
        assert set(re.findall(r"\bhilight_jax\.(\w+)\(", code)) <= set(dir(importlib.import_module("hilight_jax")))


def test_the_manifest_shown_can_be_opened(tmp_path):
    shown = blocks(DOCS / "your-videos.md")
    lines = [line for _, block in shown for line in block.splitlines() if line.startswith("{")]
    (tmp_path / "clips.jsonl").write_text("\n".join(lines))
    first, second = open_manifest(str(tmp_path / "clips.jsonl"))
    assert first.captions[0].text[slice(0, 14)] == "the red 3-ball" and len(second.captions) == 2


def test_the_conversion_shown_takes_ten_lines():
    (code,) = [block for language, block in blocks(DOCS / "your-videos.md") if language == "python" and "csv" in block]
    assert len([line for line in code.splitlines() if line]) <= 10


def test_the_readme_is_one_page():
    assert 7_000 <= len((ROOT / "README.md").read_bytes()) <= 9_000


def test_figures_of_the_readme_are_those_of_the_results():
    def figures(page: pathlib.Path) -> set[str]:
        return set(re.findall(r"\b0\.\d{2,3}\b", text_of(page)))

    assert len(figures(ROOT / "README.md")) > 10
    assert figures(ROOT / "README.md") - figures(DOCS / "results.md") == set()


def test_every_page_is_in_the_contents():
    contents = text_of(ROOT / "mkdocs.yml").partition("\nnav:\n")[2].partition("\ntheme:")[0]
    assert sorted(re.findall(r": (\S+\.md)$", contents, re.MULTILINE)) == sorted(
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")
    )
