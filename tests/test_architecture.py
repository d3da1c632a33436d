"""The house rules, read from the source itself: which room may import what, and what no room may do."""

import ast
import pathlib
import re
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = "hilight_jax"

# From the top down: a room may import the rooms of lower floors and itself, never a sibling.
FLOORS = (
    {"benchmarks", "experiments", "planning"},
    {"formats"},
    {"stages"},
    {"runs"},
    {"training", "evals", "serving"},
    {"generation", "archive"},
    {"models", "losses", "data", "billiards", "checkpoints", "pages"},
    {"ops"},
    {"core"},
)
HEIGHT = {room: len(FLOORS) - floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# The Python interface lies at the top as commands do, but is none: commands may import it, and it prints nothing.
INTERFACE = f"{PACKAGE}.api"
ROOMS_WITHOUT_JAX = {"archive", "data", "billiards"}
# The modules that may import pickle, for its Unpickler; loads and load are called nowhere.
UNPICKLERS = (f"{PACKAGE}.data.pickled_clips", f"{PACKAGE}.formats.torchscript")
UNPICKLER_FILES = {module.rpartition(".")[2] for module in UNPICKLERS}
# Distributions that are not named as the module that they install.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "google": "protobuf",
    "orbax": "orbax-checkpoint",
    "prometheus_client": "prometheus-client",
    "tensorflow_datasets": "tensorflow-datasets",
}
# Declared without an import, each for a stated reason: jax.export imports flatbuffers and does not bring it.
DECLARED_UNIMPORTED: set[str] = {"flatbuffers"}
# Files that are copied into exported models, for torch and transformers; nothing of the package imports them.
REMOTE_CODE = "formats/exporting/remote_code"
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")


def test_the_house_rules_hold():
    assert violations(ROOT) == []


def test_there_are_at_most_24_rooms_and_every_floor_is_used():
    found = {_room(ROOT, path) for path in _sources(ROOT)}  # None is the room of commands.
    assert found == {*HEIGHT, None} and len(found) <= 24


def test_no_modules_import_each_other_in_a_circle():
    assert _circle(_import_graph(ROOT)) is None
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]


def test_no_folders_of_a_room_import_each_other_in_a_circle():
    """As ``data`` and ``data/conversations``: one of them uses the other."""
    folders: dict[str, set[str]] = {}
    for module, imported in _import_graph(ROOT).items():
        here = module.rpartition(".")[0]
        same_room = {each.rpartition(".")[0] for each in imported if each.split(".")[1] == module.split(".")[1]}
        folders.setdefault(here, set()).update(same_room - {here})
    assert _circle(folders) is None


def test_exported_code_imports_nothing_of_the_package():
    for path in (ROOT / PACKAGE / REMOTE_CODE).glob("*.py"):
        assert PACKAGE not in path.read_text(encoding="utf-8"), path.name
    loader = ROOT / PACKAGE / "formats" / "exporting" / "stablehlo_loader.py"
    assert {module.split(".")[0] for module, _ in _imports(ROOT, loader, ast.parse(loader.read_text()))} == {
        *("functools", "importlib", "json", "pathlib"),
        *("jax", "numpy", "safetensors"),
    }
    assert len(loader.read_text().splitlines()) <= 80
    for path in ("formats/exporting/stablehlo_words.py", "data/conversations/phrases.py"):
        assert PACKAGE not in (ROOT / PACKAGE / path).read_text(encoding="utf-8"), path


def test_every_import_is_declared_in_setup():
    assert _used_distributions() - _declared(SETUP) == set()


def test_every_package_that_setup_always_installs_is_imported():
    always = SETUP.partition("install_requires=[")[2].partition("\n    ],")[0]
    assert len(_declared(always)) > 10
    assert _declared(always) - _used_distributions() - DECLARED_UNIMPORTED == set()


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("core/mesh.py", "import hilight_jax.models.clip", "imports upwards"),
        ("losses/sparc.py", "from hilight_jax.models import clip", "imports a sibling"),
        ("losses/sparc.py", "from ..models import clip", "imports a sibling"),
        ("evals/retrieval.py", "from hilight_jax.serving import app", "imports a sibling"),
        ("generation/generator.py", "import hilight_jax.evals", "imports upwards"),
        ("training/loop.py", "import hilight_jax.stages", "imports upwards"),
        ("generation/generator.py", "import hilight_jax.api", "imports a command"),
        ("api.py", "print('loaded')", "prints"),
        ("training/loop.py", "import hilight_jax.train", "imports a command"),
        ("evaluate.py", "from hilight_jax import train", "imports a command"),
        ("training/loop.py", "def f():\n  from flax import linen", "imports flax"),
        ("data/video.py", "import jax", "needs jax"),
        ("data/video.py", "from hilight_jax.core import mesh", "needs jax"),
        ("formats/clip_names.py", "import torch", "imports torch at import time"),
        ("training/loop.py", "print('step')", "prints"),
        ("data/video.py", "from pickle import load", "imports pickle"),
        ("data/pickled_clips.py", "from pickle import load", "unpickles"),
        ("data/pickled_clips.py", "import pickle\npickle.loads(content)", "unpickles"),
        ("formats/torchscript.py", "import pickle\npickle.loads(content)", "unpickles"),
        ("formats/torchscript.py", "import pickle\npickle._Unpickler(file).load()", "unpickles"),
        ("data/video.py", "np.load(path, allow_pickle=True)", "allows pickle"),
        ("data/utils.py", "x = 1", "is named utils.py"),
        ("training/steps.py", "jax.pmap(f)", "uses pmap"),
        ("attic/x.py", "x = 1", "lies in no known room"),
    ],
)
def test_a_broken_rule_is_found(tmp_path, path, source, rule):
    there = (
        "models/clip.py",
        "train.py",
        "api.py",
        "generation/generator.py",
        "serving/app.py",
        "evals/__init__.py",
        "stages/__init__.py",
    )
    for name, text in {"core/mesh.py": "import jax", **dict.fromkeys(there, ""), path: source}.items():
        file = tmp_path / PACKAGE / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (found,) = violations(tmp_path)
    assert found.startswith(f"{PACKAGE}/{path}") and rule in found


def test_what_is_allowed_passes(tmp_path):
    allowed = {
        "core/mesh.py": "import jax",
        "core/errors.py": "import difflib",
        "models/clip.py": "import flax\nfrom hilight_jax.core import mesh",
        "data/video.py": "from hilight_jax.core.errors import UserError\nimport jaxtyping",
        "data/pickled_clips.py": "import pickle\nclass Recorder(pickle.Unpickler):\n  pass",
        "formats/torchscript.py": "import pickle\nclass Recorder(pickle._Unpickler):\n  pass",
        "formats/clip_names.py": "def read(path):\n  import torch",
        "train.py": "from hilight_jax.models import clip\nprint(clip)",
        "generation/generator.py": "from hilight_jax.models import clip",
        "evals/video_qa.py": "from hilight_jax.generation.generator import Generator",
        "formats/exporting/stablehlo.py": "from hilight_jax.checkpoints import store",
        "stages/chat.py": "from hilight_jax.evals import video_qa",
        "api.py": "from hilight_jax.serving import generate",
        "chat.py": "from hilight_jax import api\nprint(api)",
        "__init__.py": "def load():\n  from hilight_jax import api",
    }
    for name, text in allowed.items():
        file = tmp_path / PACKAGE / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert violations(tmp_path) == []


def violations(root: pathlib.Path) -> list[str]:
    """Returns one sentence per broken rule of the package under ``root``."""
    trees = _sources(root)
    modules = {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in trees}
    imports = {module: list(_imports(root, path, trees[path])) for module, path in modules.items()}
    rooms = {module: _room(root, path) for module, path in modules.items()}
    found = []
    for module, path in modules.items():
        rules = [*_file_rules(path, rooms[module], trees[path]), *_import_rules(module, rooms, imports)]
        found += [f"{path.relative_to(root).as_posix()} {rule}" for rule in rules]
    return found


def _file_rules(path: pathlib.Path, room: str | None, tree: ast.Module) -> Iterator[str]:
    """What is wrong with one file by itself; ``room`` is None for the modules at the top, which are commands."""
    if path.name in ("utils.py", "helpers.py", "common.py"):
        yield f"is named {path.name}, which says nothing about what is in it"
    if room is not None and room not in HEIGHT:
        yield f"lies in no known room: {room}"
    is_command = room is None and path.stem not in ("__init__", INTERFACE.rpartition(".")[2])
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print" and not is_command:
            yield f"prints on line {node.lineno}; only command modules do"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", True):
            yield f"allows pickle on line {node.value.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "pickle" and path.stem in UNPICKLER_FILES:
            yield f"unpickles on line {node.lineno}; import pickle and override its Unpickler"
        if isinstance(node, ast.Call) and isinstance(called := node.func, ast.Attribute):
            if (
                called.attr in ("load", "loads", "Unpickler", "_Unpickler")
                and getattr(called.value, "id", None) == "pickle"
            ):
                yield f"unpickles on line {node.lineno}; override pickle.Unpickler"
        if isinstance(node, ast.Attribute) and node.attr in ("pmap", "pjit"):
            yield f"uses {node.attr} on line {node.lineno}; use jax.jit and jax.shard_map"


def _import_rules(module: str, rooms: dict, imports: dict) -> Iterator[str]:
    """What is wrong with the imports of one file."""
    room = rooms[module]
    for imported, top_level in imports[module]:
        first = imported.split(".")[0]
        if imported in rooms:
            yield from _arrow(module, imported, room, rooms[imported])
        if first == "flax" and room != "models":
            yield "imports flax, which only models/ may"
        if first == "torch" and top_level:
            yield "imports torch at import time; import it in the function that reads the file"
        if first in ("cloudpickle", "dill") or (first == "pickle" and module not in UNPICKLERS):
            yield f"imports {first}"
    if room in ROOMS_WITHOUT_JAX and (chain := _chain_to_jax(module, imports)):
        yield f"needs jax: {' -> '.join(chain)}"


def _arrow(module: str, imported: str, room: str | None, imported_room: str | None) -> Iterator[str]:
    """One import inside the package."""
    if imported == PACKAGE:
        return
    if imported == INTERFACE and room is None:
        return
    if imported_room is None:
        yield f"imports a command, {imported}; move what both need into a room"
    elif room is not None and room != imported_room and room in HEIGHT and imported_room in HEIGHT:
        if HEIGHT[imported_room] == HEIGHT[room]:
            yield f"imports a sibling room, {imported}"
        elif HEIGHT[imported_room] > HEIGHT[room]:
            yield f"imports upwards, {imported}"


def _chain_to_jax(module: str, imports: dict) -> list[str] | None:
    """The shortest chain of imports that leads from ``module`` to jax, or None."""
    chains = {module: []}
    for here in (queue := [module]):
        for imported, _ in imports[here]:
            chain = [*chains[here], imported]
            if imported.split(".")[0] in ("jax", "jaxlib", "flax", "optax", "orbax"):
                return chain
            if imported in imports and imported not in chains:
                chains[imported] = chain
                queue.append(imported)
    return None


def _import_graph(root: pathlib.Path) -> dict[str, set[str]]:
    """The modules of the package, those of its rooms, by the module that imports them."""
    trees = _sources(root)
    modules = {".".join(path.relative_to(root).with_suffix("").parts): path for path in trees}
    graph = {}
    for module, path in modules.items():
        if path.name != "__init__.py" and path.parent.name != PACKAGE:
            graph[module] = {imported for imported, _ in _imports(root, path, trees[path]) if imported in modules}
    return graph


def _circle(graph: dict[str, set[str]]) -> list[str] | None:
    """A path through ``graph`` that ends where it begins, or None."""
    done: set[str] = set()

    def follow(path: list[str]) -> list[str] | None:
        if path[-1] in path[:-1]:
            return path[path.index(path[-1]) :]
        for each in sorted(graph.get(path[-1], set()) - done):
            if found := follow([*path, each]):
                return found
        done.add(path[-1])
        return None

    return next((found for each in sorted(graph) if (found := follow([each]))), None)


def _imports(root: pathlib.Path, path: pathlib.Path, tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Yields ``(module, is it imported when the file is)``; ``from a import b`` yields ``a.b`` where that is a file."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = {child for node in ast.walk(tree) if isinstance(node, functions) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in inside
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = path.relative_to(root).with_suffix("").parts[: -node.level]
                base = ".".join((*parents, base)).rstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}"
                file = root / full.replace(".", "/")
                is_module = file.is_dir() or file.with_suffix(".py").is_file()
                yield full if is_module else base, node not in inside


def _declared(requirements: str) -> set[str]:
    """The names of the distributions in a piece of setup.py."""
    return {name.lower() for name in re.findall(r'"([A-Za-z0-9_-]+)(?:\[\w+\])?>=', requirements)}


def _used_distributions() -> set[str]:
    """The distributions that the package imports anywhere."""
    used = {module.split(".")[0] for path, tree in _sources(ROOT).items() for module, _ in _imports(ROOT, path, tree)}
    used -= set(sys.stdlib_module_names) | {PACKAGE, "configs"}
    return {DISTRIBUTIONS.get(name, name).lower() for name in used}


def _sources(root: pathlib.Path) -> dict[pathlib.Path, ast.Module]:
    paths = [path for path in sorted((root / PACKAGE).rglob("*.py")) if REMOTE_CODE not in path.as_posix()]
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def _room(root: pathlib.Path, path: pathlib.Path) -> str | None:
    """The folder of the package that holds the file, or None at the top."""
    parts = path.relative_to(root / PACKAGE).parts
    return parts[0] if len(parts) > 1 else None
