"""TorchScript archives: their weights are read, their code is not."""

import pathlib
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from hilight_jax.core.errors import CheckpointError
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.torch_files import write_torch_file
from hilight_jax.formats.torchscript import is_torchscript, read_torchscript

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def _clip(torch):
    """A module whose parameters lie in each other as CLIP's do, in half precision with norms in float32."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = nn.MultiheadAttention(8, 2).half()
            self.ln_1 = nn.LayerNorm(8)
            self.mlp = nn.Sequential()
            self.mlp.add_module("c_fc", nn.Linear(8, 16).half())
            self.mlp.add_module("gelu", nn.ReLU())
            self.mlp.add_module("c_proj", nn.Linear(16, 8).half())

        def forward(self, x):
            return x + self.mlp(self.ln_1(x))

    class Visual(nn.Module):
        def __init__(self):
            super().__init__()
            self.class_embedding = nn.Parameter(torch.randn(8))
            self.conv1 = nn.Conv2d(3, 8, 2, 2, bias=False)
            self.transformer = nn.Sequential(Block(), Block())

        def forward(self, x):
            return self.transformer(x + self.class_embedding)

    class Clip(nn.Module):
        def __init__(self):
            super().__init__()
            self.context_length = 77
            self.positional_embedding = nn.Parameter(torch.randn(5, 8))
            self.logit_scale = nn.Parameter(torch.tensor(2.5))
            self.visual = Visual()
            self.register_buffer("turned", torch.arange(6).reshape(2, 3).t())
            self.register_buffer("rows", torch.arange(20.0).reshape(5, 4)[1:3, ::2])
            self.register_buffer("flag", torch.tensor([True, False]))
            self.register_buffer("brain", torch.ones(3).bfloat16())

        def forward(self, x):
            return self.visual(x) * self.logit_scale.exp()

    torch.manual_seed(0)
    return Clip()


@pytest.fixture(scope="module", params=["scripted", "traced"])
def archive(torch, request, tmp_path_factory) -> tuple[pathlib.Path, dict[str, np.ndarray]]:
    """An archive, and the state that was saved in it."""
    module = _clip(torch)
    path = tmp_path_factory.mktemp("archive") / "ViT-B-32.pt"
    if request.param == "scripted":
        torch.jit.save(torch.jit.script(module), path)
    else:
        with torch.no_grad():
            module = module.float()
            torch.jit.save(torch.jit.trace(module, torch.ones(1, 8)), path)
    return path, torch.jit.load(path).state_dict()


def test_names_and_values_are_those_of_the_state_dict(torch, archive):
    path, state = archive
    found = read_torchscript(path)
    assert sorted(found) == sorted(state)
    for name, x in state.items():
        assert found[name].shape == tuple(x.shape)
        assert found[name].dtype.name == str(x.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(found[name].read().astype(np.float64), x.double().numpy())


def test_checkpoints_are_recognised_by_what_the_zip_file_holds(torch, archive, tmp_path):
    path, state = archive
    assert is_torchscript(path)
    assert sorted(open_foreign(path).weights) == sorted(state)
    write_torch_file(tmp_path / "x.pt", {"a": np.ones(2)})
    assert not is_torchscript(tmp_path / "x.pt")
    (tmp_path / "x.pt").write_bytes(b"PK")
    assert not is_torchscript(tmp_path / "x.pt")


def test_torch_is_not_needed(archive, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert read_torchscript(archive[0])["logit_scale"].read() == 2.5


def _archive(path: pathlib.Path, pickle: bytes) -> pathlib.Path:
    """An archive with this pickle and one storage of 16 bytes."""
    with zipfile.ZipFile(path, "w") as new:
        for name, content in {"data.pkl": pickle, "data/0": bytes(16), "constants.pkl": b"\x80\x02)."}.items():
            new.writestr(f"M/{name}", content)
    return path


def _module(state: bytes) -> bytes:
    """A pickle of one module with this state."""
    return b"\x80\x02c__torch__\nM\n)\x81" + state + b"b."


def _storage(kind: bytes = b"FloatStorage", size: bytes = b"K\x04") -> bytes:
    return b"(X\x07\x00\x00\x00storagectorch\n" + kind + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + size + b"tQ"


def _tensor(storage: bytes, offset: bytes = b"K\x00", shape: bytes = b"K\x04", stride: bytes = b"K\x01") -> bytes:
    view = storage + offset + shape + b"\x85" + stride + b"\x85\x89)"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + view + b"tR"


def _state(value: bytes) -> bytes:
    return _module(b"}X\x01\x00\x00\x00w" + value + b"s")


def test_the_tensors_of_these_tests_are_well_written(tmp_path):
    """So that what is refused below is refused for its reason."""
    good = _archive(tmp_path / "x.pt", _state(_tensor(_storage())))
    assert read_torchscript(good)["w"].read().tolist() == [0, 0, 0, 0]


_DEEP = b"".join(
    b"c__torch__\nM\n)\x81}X\x01\x00\x00\x00a" + (b"h" + bytes([i - 1]) if i else b"K\x01") + b"sX\x01\x00\x00\x00b"
    + (b"h" + bytes([i - 1]) if i else b"K\x01") + b"sbq" + bytes([i]) for i in range(60)
)  # fmt: skip


@pytest.mark.parametrize(
    "pickle, said",
    [
        (_state(b"cos\nsystem\nX\x04\x00\x00\x00true\x85R"), r"calls os\.system, which is never run"),
        (_state(b"cbuiltins\neval\nX\x01\x00\x00\x001\x85R"), r"calls builtins\.eval"),
        (_state(b"cos\n_wrap_close\n)\x81"), "it makes an object that is no module of its own"),
        (_state(b"X\x01\x00\x00\x001)R"), "it calls something nameless, which is never run"),
        (_state(_tensor(_storage(), shape=b"K\x05")), "beyond its storage"),
        (_state(_tensor(_storage(), offset=b"K\x01")), "beyond its storage"),
        (_state(_tensor(_storage(), stride=b"K\x02")), "beyond its storage"),
        (_state(_tensor(_storage(), shape=b"J\xff\xff\xff\x7f", stride=b"K\x00")), "beyond its storage"),
        (_state(_tensor(_storage(), offset=b"J\xff\xff\xff\xff")), "not described as torch"),
        (_state(_tensor(_storage(), shape=b"X\x01\x00\x00\x004")), "not described as torch"),
        (_state(_tensor(_storage(b"QuantStorage"))), "a type that is not known"),
        (_state(_tensor(b"K\x00")), "not described as torch"),
        (_state(b"K\x00Q"), "not described as torch"),
        (_state(_tensor(_storage(size=b"K\x05"))), "needs 20 bytes in 'M/data/0', which has 16"),
        (_state(b"c__torch__\nM\n)R"), r"it calls __torch__\.M, which is never run"),
        (_state(b"c__torch__\nM\nK\x01\x85\x81"), "it makes an object that is no module of its own"),
        (_state(_tensor(_storage()) + b"N}X\x06\x00\x00\x00offsetK\x01s\x86b"), "the state of something that is no"),
        (_state(_tensor(_storage()) + b"}X\x06\x00\x00\x00offsetK\x01sb"), "the state of something that is no module"),
        (b"\x80\x02c__torch__\nM\nN}X\x05\x00\x00\x00stateK\x01s\x86b.", "the state of something that is no module"),
        (b"\x80\x02)" + b"\x85" * 30_000 + b".", "without tensors"),
        (b"\x80\x02)" + b"\x85" * 10**6 + b".", "too many instructions"),
        (b"\x80\x02)r\xff\xff\xff\x7f.", "without tensors"),
        (b"\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00).", "the instruction FRAME, which no module needs"),
        (_module(b"}]K\x01s"), "keys that are neither text nor numbers"),
        (_module(b"}(X\x01\x00\x00\x00wu"), "its state is damaged, or more than modules and tensors"),
        (_module(b""), "its state is damaged, or more than modules and tensors"),
        (_module(b"]"), "no module"),
        (_module(b"K\x01"), "no module"),
        (b"\x80\x02X\x01\x00\x00\x00wK\x00\x85a.", "cannot be read"),
        (b"\x80\x02K\x01K\x02a.", "cannot be read"),
        (b"\x80\x02}]K\x01s.", "cannot be read"),
        (b"\x80\x02h\x07.", "cannot be read"),
        (b"\x80\x02i", "cannot be read"),
        (b"\x80\x02K\x01", "cannot be read"),
        (b"\x80\x02..", "cannot be read|without tensors"),
        (b"\x80\x02", "cannot be read"),
        (b"\x80\x02K\x01.", "without tensors"),
        (b"\x80\x02" + _DEEP + b".", "without end"),
        (b"\x80\x02c__torch__\nM\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb.", "without end"),
    ],
    ids=lambda x: "" if isinstance(x, bytes) else None,
)
def test_a_state_that_is_more_or_less_than_modules_and_tensors_is_refused(tmp_path, pickle, said):
    with pytest.raises(CheckpointError, match=said):
        read_torchscript(_archive(tmp_path / "x.pt", pickle))


def _beside_a_weight(value: bytes) -> bytes:
    return _module(b"}(X\x01\x00\x00\x00w" + _tensor(_storage()) + b"X\x01\x00\x00\x00x" + value + b"u")


def test_dictionaries_under_numbers_are_passed_by(tmp_path):
    """TorchScript has such attributes; no weight lies in one."""
    numbers = b"}(K\x01K\x02G" + bytes(8) + _tensor(_storage()) + b"\x88Nu"
    assert list(read_torchscript(_archive(tmp_path / "x.pt", _beside_a_weight(numbers)))) == ["w"]


_MANY = 2 * 10**5
_NULLS = b"(" + b"N" * _MANY
_DOUBLED = b")" + b"q\x01h\x01\x86" * 40  # Two to the 40th tuples, if each is visited.
_CONVERTED = b"(ctorch.jit._pickle\nbuild_intlist\nq\x00"
_REBUILT = b"(ctorch._utils\n_rebuild_tensor_v2\nq\x00(" + _storage() + b"K\x00("
_CALLS = b"q\x01](" + b"h\x00h\x01R" * _MANY + b"et"  # A list of calls of memo 0 with the arguments on the stack.
_COLLIDING = b"".join(b"\x8a\x0d" + (i * (2**61 - 1)).to_bytes(13, "little") + b"N" for i in range(_MANY))
_LONG_NAME = b"X" + struct.pack("<I", 10**7) + b"x" * 10**7
HOSTILE = {
    "a key hashed for ever": (_module(b"}" + _DOUBLED + b"Ns"), "keys that are neither text nor numbers"),
    "keys hashed for ever": (_module(b"}(" + _DOUBLED + b"Nu"), "keys that are neither text nor numbers"),
    "a name printed for ever": (
        _state(b"cos\nx\nN}X\x06\x00\x00\x00module" + _DOUBLED + b"s\x86b)R"),
        "the state of something that is no module",
    ),
    "a list copied often": (_beside_a_weight(_CONVERTED + b"]" + _NULLS + b"e\x85" + _CALLS), "['w']"),
    "a tuple copied often": (_beside_a_weight(_CONVERTED + _NULLS + b"t" + _CALLS), "['w']"),
    "a shape checked often": (
        _beside_a_weight(_REBUILT + b"K\x01" * _MANY + b"tq\x03h\x03t" + _CALLS),
        "not described as torch describes one",
    ),
    "numbers that collide": (_beside_a_weight(b"}(" + _COLLIDING + b"u"), "['w']"),
    "a deep tuple": (_beside_a_weight(b")" + b"\x85" * (10**6 - 100)), "['w']"),
    "a long name repeated": (
        b"\x80\x02c__torch__\nM\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00" + _LONG_NAME + b"Nub.",
        "without end",
    ),
    "a text of 256 MiB": (
        _beside_a_weight(b"X" + struct.pack("<I", 2**28) + bytes(2**28)),
        "it takes more memory than there is",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_state_takes_neither_time_nor_memory(tmp_path, name):
    """In a child that may use 40 seconds and 256 MiB."""
    pickle, said = HOSTILE[name]
    script = (
        "import pathlib, resource, sys\n"
        "from hilight_jax.formats.torchscript import CheckpointError, read_torchscript\n"
        "pages = int(pathlib.Path('/proc/self/statm').read_text().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28,) * 2)\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (40, 40))\n"
        "try: print(list(read_torchscript(pathlib.Path(sys.argv[1]))))\n"
        "except CheckpointError as error: print(error)\n"
    )
    path = _archive(tmp_path / "x.pt", pickle)
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert said in done.stdout


def test_a_stride_that_numpy_cannot_count_is_a_sentence(tmp_path):
    stride = b"\x8a\x09" + bytes(8) + b"\x01"  # Two to the 64th, for the one element of an axis.
    path = _archive(tmp_path / "x.pt", _state(_tensor(_storage(), shape=b"K\x01", stride=stride)))
    with pytest.raises(CheckpointError, match="'w' in '.*' cannot be read"):
        read_torchscript(path)["w"].read()


def test_a_state_that_is_packed_and_may_be_of_any_size_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("M/data.pkl", bytes(10**6))
        new.writestr("M/constants.pkl", b"\x80\x02).")
    with pytest.raises(CheckpointError, match="its state is packed"):
        read_torchscript(tmp_path / "x.pt")


def test_modules_that_hold_each_other_many_times_end_soon(tmp_path):
    names = b"".join(b"X\x04\x00\x00\x00" + f"{i:04}".encode() + b"h\x00" for i in range(5000))
    itself = b"\x80\x02c__torch__\nM\n)\x81q\x00}(" + names + b"ub."
    with pytest.raises(CheckpointError, match="without end"):
        read_torchscript(_archive(tmp_path / "x.pt", itself))


def test_a_storage_that_is_missing_is_named(tmp_path):
    storage = _storage().replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x007")
    with pytest.raises(CheckpointError, match="'w' needs 16 bytes in 'M/data/7', which has 0; download it again"):
        read_torchscript(_archive(tmp_path / "x.pt", _state(_tensor(storage))))


def test_numbers_that_were_damaged_are_found_when_they_are_read(archive, tmp_path):
    content = bytearray(archive[0].read_bytes())
    with zipfile.ZipFile(archive[0]) as file:
        entry = max(file.infolist(), key=lambda entry: entry.file_size if "/data/" in entry.filename else 0)
        at = content.index(file.read(entry))
    content[at] ^= 1
    (tmp_path / "ViT-B-32.pt").write_bytes(content)
    found = read_torchscript(tmp_path / "ViT-B-32.pt")
    with pytest.raises(CheckpointError, match="cannot be read .*download the file again"):
        for x in found.values():
            x.read()


@pytest.mark.parametrize("share", [0.2, 0.7, 0.95, 0.999])
def test_an_archive_that_is_cut_off_is_refused_by_a_sentence(archive, tmp_path, share):
    content = archive[0].read_bytes()
    (tmp_path / "x.pt").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        open_foreign(tmp_path / "x.pt")
