"""torch's files: written here and loaded by torch, written by torch and read here, and what is refused."""

import builtins
import collections
import pathlib
import zipfile

import ml_dtypes
import numpy as np
import pytest

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.formats import torch_files
from hilight_jax.formats.checkpoint_files import open_foreign
from hilight_jax.formats.torch_files import read_torch_file, write_torch_file

pytestmark = pytest.mark.torch
DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def _arrays(dtype: str) -> dict[str, np.ndarray]:
    """A matrix, a scalar, an empty array, a name outside ASCII, a transposed view."""
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    x = (np.arange(15).reshape(3, 5) % 7).astype(dtype)
    return {"a.weight": x, "scale": x[0, 1], "nothing": x[:, :0], "größe": x[0], "turned": x.T}


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return (left.dtype, left.shape) == (right.dtype, right.shape) and left.tobytes() == right.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_written_comes_back_bit_for_bit(torch, tmp_path, dtype):
    write_torch_file(tmp_path / "x.pt", _arrays(dtype))
    back = read_torch_file(tmp_path / "x.pt")
    assert list(back) == list(_arrays(dtype))
    assert all(_same(back[name].read(), np.asarray(x)) for name, x in _arrays(dtype).items())


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_loads_an_ordered_state_dict_of_weights_only(torch, tmp_path, dtype, mmap):
    write_torch_file(tmp_path / "token_mining.bin", _arrays(dtype))
    loaded = torch.load(tmp_path / "token_mining.bin", weights_only=True, mmap=mmap)
    assert type(loaded) is collections.OrderedDict
    assert list(loaded) == list(_arrays(dtype))
    for name, x in _arrays(dtype).items():
        assert loaded[name].dtype == getattr(torch, dtype)
        assert loaded[name].is_contiguous() and not loaded[name].requires_grad
        np.testing.assert_array_equal(loaded[name].double().numpy(), np.asarray(x, np.float64))


def test_torch_takes_what_is_written_as_a_module_s_state(torch, tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    state = {name: x.numpy() for name, x in module.state_dict().items()}
    write_torch_file(tmp_path / "x.pt", state)
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    other.load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True), strict=True)
    assert all(torch.equal(x, other.state_dict()[name]) for name, x in module.state_dict().items())


def test_nothing_but_the_standard_library_is_needed_to_write(tmp_path, monkeypatch):
    _hide_torch(monkeypatch)
    write_torch_file(tmp_path / "x.pt", _arrays("float32"))
    assert zipfile.ZipFile(tmp_path / "x.pt").testzip() is None


def _contents_begin_at(path: pathlib.Path) -> list[int]:
    """The offset of every entry's content: 30 bytes, the name and the extra field behind its header's offset."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        starts = [entry.header_offset for entry in archive.infolist()]
    lengths = [[int.from_bytes(content[i + at : i + at + 2], "little") for at in (26, 28)] for i in starts]
    return [start + 30 + sum(pair) for start, pair in zip(starts, lengths, strict=True)]


def test_numbers_begin_at_multiples_of_64_bytes(torch, tmp_path):
    write_torch_file(tmp_path / "x.pt", _arrays("float16"))
    assert {start % 64 for start in _contents_begin_at(tmp_path / "x.pt")} == {0}


def test_entries_too_large_for_an_ordinary_zip_are_aligned_and_load(torch, tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(torch_files, "_ZIP64_ABOVE", 100 / 1.05)
    arrays = {str(size): np.arange(size, dtype=np.uint8) for size in (10, 95, 96, 250)}
    write_torch_file(tmp_path / "x.pt", arrays)
    assert {start % 64 for start in _contents_begin_at(tmp_path / "x.pt")} == {0}
    loaded = torch.load(tmp_path / "x.pt", weights_only=True, mmap=True)
    assert all(np.array_equal(loaded[name].numpy(), x) for name, x in arrays.items())


def test_sizes_beyond_32_bits_are_spelt_out(torch):
    """An embedding of 2^31 elements and more; only the description is made."""
    big = LazyArray((2**20, 2**12), np.int8, lambda: pytest.fail("read"))
    assert torch_files._number(2**32) == b"\x8a\x05\x00\x00\x00\x00\x01"
    assert torch_files._number(2**31) == b"\x8a\x05\x00\x00\x00\x80\x00"
    assert b"\x8a\x05\x00\x00\x00\x00\x01" in torch_files._describe({"x": big})


def test_lazy_arrays_are_read_one_after_the_other(torch, tmp_path):
    order = []

    def piece(name):
        return LazyArray((2,), np.float32, lambda: order.append(name) or np.full(2, len(order), np.float32))

    write_torch_file(tmp_path / "x.pt", {name: piece(name) for name in "abc"})
    assert order == ["a", "b", "c"]
    assert read_torch_file(tmp_path / "x.pt")["c"].read().tolist() == [3, 3]


def test_a_dtype_that_torch_does_not_know_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(CheckpointError, match="'x' has the dtype uint32"):
        write_torch_file(tmp_path / "x.pt", {"x": np.zeros(2, np.uint32)})
    assert not (tmp_path / "x.pt").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module", None])
def test_state_dicts_are_taken_out_of_what_scripts_wrap_around_them(torch, tmp_path, key, zipped):
    state = {"a": torch.arange(6).reshape(2, 3).t(), "b": torch.ones(2).bfloat16()}
    whole = {"epoch": 3, "optimizer": {"lr": 0.1}, key: state} if key else state
    torch.save(whole, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    back = read_torch_file(tmp_path / "x.pt")
    assert back["a"].read().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert _same(back["b"].read(), np.ones(2, ml_dtypes.bfloat16))


def test_parameters_that_need_gradients_are_read_like_any_others(torch, tmp_path):
    torch.save(dict(torch.nn.Linear(2, 2).named_parameters()), tmp_path / "x.pt")
    assert {name: x.read().shape for name, x in read_torch_file(tmp_path / "x.pt").items()} == {
        "weight": (2, 2),
        "bias": (2,),
    }


def test_a_dict_that_holds_itself_ends(torch, tmp_path):
    whole = {"a": torch.ones(1)}
    whole["model"] = whole
    torch.save(whole, tmp_path / "x.pt")
    assert list(read_torch_file(tmp_path / "x.pt")) == ["a"]


def test_what_was_read_may_be_changed_without_changing_what_is_read_next(torch, tmp_path):
    write_torch_file(tmp_path / "x.pt", {"a": np.ones(4, np.float32)})
    lazy = read_torch_file(tmp_path / "x.pt")["a"]
    lazy.read()[:] = 7
    assert lazy.read().tolist() == [1, 1, 1, 1]


def test_a_file_is_mapped_anew_once_much_was_read(torch, tmp_path, monkeypatch):
    """Pages that were read count as memory until their mapping is gone."""
    monkeypatch.setattr(torch_files, "_REMAP_BYTES", 30)
    write_torch_file(tmp_path / "x.pt", {"a": np.zeros(4, np.float32)})
    lazy = read_torch_file(tmp_path / "x.pt")["a"]
    write_torch_file(tmp_path / "y.pt", {"a": np.ones(4, np.float32)})
    (tmp_path / "y.pt").replace(tmp_path / "x.pt")
    assert [lazy.read()[0] for _ in range(3)] == [0, 0, 1]


def test_a_file_that_is_gone_is_named_by_a_sentence(torch, tmp_path, monkeypatch):
    monkeypatch.setattr(torch_files, "_REMAP_BYTES", 0)
    write_torch_file(tmp_path / "x.pt", {"a": np.zeros(4, np.float32)})
    lazy = read_torch_file(tmp_path / "x.pt")["a"]
    lazy.read()
    (tmp_path / "x.pt").unlink()
    with pytest.raises(CheckpointError, match="x.pt.*No such file"):
        lazy.read()


def test_without_torch_the_extra_is_named(tmp_path, monkeypatch):
    write_torch_file(tmp_path / "x.pt", {"a": np.ones(1)})
    _hide_torch(monkeypatch)
    with pytest.raises(CheckpointError, match=r"torch is not installed; pip install 'hilight_jax\[torch\]'"):
        read_torch_file(tmp_path / "x.pt")


class _Call:
    """Something whose unpickling calls ``print``."""

    def __reduce__(self):
        return print, ("this must never run",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(torch, tmp_path, capsys, zipped):
    torch.save({"a": torch.ones(1), "b": _Call()}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="calls for code .*print.* never run; save the state dict alone"):
        open_foreign(tmp_path / "x.pt")
    assert "must never run" not in capsys.readouterr().out


def test_a_whole_module_is_refused(torch, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"GLOBAL torch\.nn\.modules\.linear\.Linear .*save the state dict alone"):
        open_foreign(tmp_path / "x.pt")


def _cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused_by_a_sentence(torch, tmp_path, share, zipped):
    torch.save({"a": torch.arange(1000)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    (tmp_path / "x.pt").write_bytes(_cut((tmp_path / "x.pt").read_bytes(), share))
    with pytest.raises(CheckpointError, match="no checkpoint of torch's, or is cut off .*copy or download it again"):
        open_foreign(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "content",
    [b"hello\nworld\n" * 30, b"\x80\x02.", b"\x80\x02}q\x00.", b"PK\x03\x04" + bytes(100), bytes(range(256)) * 4],
)
def test_what_is_no_checkpoint_is_refused_by_a_sentence(torch, tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"'.*x\.pt' "):
        open_foreign(tmp_path / "x.pt")


def test_an_old_file_that_is_cut_off_anywhere_is_refused_by_a_sentence(torch, tmp_path):
    torch.save({"a": torch.ones(5), "b": torch.zeros(3)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "x.pt").read_bytes()
    for length in range(len(content)):
        (tmp_path / "x.pt").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"x\.pt"):
            read_torch_file(tmp_path / "x.pt")


def test_other_zip_files_are_refused_by_a_sentence(torch, tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    with pytest.raises(CheckpointError, match="no checkpoint of torch's"):
        open_foreign(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda torch: [torch.ones(1)], "holds list, not a state dict"),
        (lambda torch: {"epoch": 1}, "holds a dict without tensors"),
        (lambda torch: {"a": torch.ones(2, 2).to_sparse()}, "'a' .* is a sparse_coo tensor"),
        (lambda torch: {"a": torch.ones(2, dtype=torch.complex64)}, "'a' .* has the dtype complex64"),
        (lambda torch: {"a": torch.ones(2, device="meta")}, "'a' .* has a shape and no numbers"),
    ],
)
def test_what_holds_no_plain_weights_is_refused(torch, tmp_path, make, said):
    torch.save(make(torch), tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=said):
        read_torch_file(tmp_path / "x.pt")


def _hide_torch(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.split(".")[0] == "torch":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
