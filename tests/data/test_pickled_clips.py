import codecs
import copyreg
import io
import os
import pickle
import random
import struct
import subprocess
import sys

import numpy as np
import pytest
from numpy._core.multiarray import _reconstruct
from numpy._core.numeric import _frombuffer

from hilight_jax.data.pickled_clips import PickleError, read_pickled_array, read_pickled_clip

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        ARRAY,
        np.asfortranarray(ARRAY),
        ARRAY[:, ::2],
        ARRAY.astype(">f8"),
        ARRAY.astype(np.float16),
        ARRAY.astype(np.int64),
        ARRAY > 3,
        np.float32(2) * np.ones(()),
    ],
    ids=["C", "F", "strided", "big-endian", "half", "int", "bool", "scalar"],
)
def test_arrays_of_numbers_are_read_in_every_protocol(array, protocol):
    array = np.asarray(array)
    read = read_pickled_array(pickle.dumps(array, protocol))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_the_names_of_older_numpys_are_known():
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    content = pickle.dumps(ARRAY, 2)
    assert content.count(new) == 1
    np.testing.assert_array_equal(read_pickled_array(content.replace(new, old)), ARRAY)


def test_an_array_that_python_2_wrote_is_read():
    described = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    element = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = b"\x80\x02" + described + b"(K\x01K\x02\x85" + element + b"\x89U\x08\x00\x00\x80?\x00\x00\x00\xc0tb."
    np.testing.assert_array_equal(read_pickled_array(content), np.array([1, -2], np.float32), strict=True)


class Runs:
    """Would create a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("hidden", [False, True])
def test_nothing_runs(tmp_path, protocol, hidden):
    ran = tmp_path / "ran"
    content = Runs(ran)
    content = pickle.dumps(np.array([content, None], object) if hidden else content, protocol)
    with pytest.raises(PickleError, match=r"which no array of numbers needs; nothing of it was run|its elements are"):
        read_pickled_array(content)
    assert not ran.exists()


HEAD = b"cnumpy._core.multiarray\n_reconstruct\n"
MALICIOUS = {
    "builtins.eval": b"cbuiltins\neval\n(S'1+1'\ntR.",
    "a dotted name below an allowed one": b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__class__.\x93.",
    "ndarray called": b"cnumpy\nndarray\n(I10\ntR.",
    "a function's state": HEAD + b"(S'__doc__'\nI1\ntb.",
    "an instance": b"(inumpy\nndarray\n.",
    "an object": b"(cnumpy\nndarray\no.",
    "a new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "an extension code": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pid\n.",
    "a function alone": HEAD + b".",
    "an array without content": HEAD + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR.",
    "strings of numbers": b"cnumpy\ndtype\n(S'U9'\ntR.",
    "bytes in another encoding": b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
    "a call with too many arguments": b"c_codecs\nencode\n(Vx\nVlatin1\nNtR.",
    "too few on the stack": b"tR.",
    "an unknown reference": b"g7\n.",
    "too many instructions": b"\x80\x02" + b"NNNNNNNN" * 200 + b".",
    "a bomb of references": b"\x80\x02)" + b"".join(b"q%cq%ch%ch%c\x86" % (i, i, i, i) for i in range(30)) + b".",
    "no end": pickle.dumps(ARRAY)[:-1],
    "half of it": pickle.dumps(ARRAY)[:90],
    "a second pickle behind": pickle.dumps(ARRAY) * 2,
    "a tuple nested a million deep, hashed": b"\x80\x02})" + b"\x85" * 10**6 + b"Ns.",
    "a tuple nested a million deep": b"\x80\x02)" + b"\x85" * 10**6 + b".",
    "a memo of 64 GiB": b"\x80\x02Nr\xff\xff\xff\xff.",
    "a memo of 64 GiB by text": b"Np4294967295\n.",
    "bytes of 4 EiB": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
    "a bytearray of 64 GiB": b"\x80\x05\x96" + struct.pack("<Q", 1 << 36) + b"x.",
    "a frame of 64 GiB": b"\x80\x04\x95" + struct.pack("<Q", 1 << 36) + b"N.",
    "ten million sets": b"\x80\x04" + b"\x8f" * 10**7 + b".",
    "a set that holds itself": b"\x80\x04\x8f\x94(h\x00\x90.",
    "an out-of-band buffer": b"\x80\x05\x97.",
    "defaults set on a function": b"\x80\x02cnumpy._core.numeric\n_frombuffer\nN}U\x0c__defaults__)s\x86b.",
    "a state set on a class": b"\x80\x02cnumpy\nndarray\n}U\x01aNsb.",
    "an attribute set on a name": b"\x80\x02cnumpy\nndarray\nU\x05_nameU\x01x\x86b.",
    "a number of 5,000 digits": b"L" + b"9" * 5000 + b"L\n.",
    "nothing": b"",
    "a video": b"\x00\x00\x00\x20ftypisom" * 9,
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_whatever_is_no_array_is_refused_in_a_sentence(name):
    with pytest.raises(PickleError) as failure:
        read_pickled_array(MALICIOUS[name])
    assert str(failure.value).endswith(".") and len(str(failure.value)) < 300


@pytest.mark.parametrize(
    "value",
    [{"video": ARRAY}, [ARRAY], (ARRAY, ARRAY), None, 7, "clip.mp4", b"bytes", np.array(["a"]), np.zeros(2, complex)]
    + [np.zeros(2, [("x", np.float32)]), np.zeros(2, "datetime64[s]"), np.ma.masked_array([1.0]), np.float32(3)],
)
def test_other_objects_are_refused(value):
    for protocol in range(6):
        with pytest.raises(PickleError):
            read_pickled_array(pickle.dumps(value, protocol))


def test_a_shape_that_its_bytes_do_not_fill_is_refused():
    content = pickle.dumps(np.zeros((3, 5), np.float32), 2)
    assert content.count(b"K\x03K\x05") == 1
    with pytest.raises(PickleError, match=r"of shape \(255, 255\) and type float32 cannot have 60 bytes"):
        read_pickled_array(content.replace(b"K\x03K\x05", b"K\xffK\xff"))


class Described:
    """Pickles as a call, and a state to set on its result."""

    def __init__(self, function, arguments, state):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def element_type(code="f4", state=(3, "<", None, None, None, -1, -1, 0)):
    return Described(np.dtype, (code, False, True), state)


def array_of(shape, dtype, data, column_major=False, version=1):
    return Described(_reconstruct, (np.ndarray, (0,), b"b"), (version, shape, dtype, column_major, data))


def fields(size, names, values, flags=0):
    return element_type(f"V{size}", (3, "|", None, names, values, size, 1, flags))


FLOAT, OBJECT, EIGHT = element_type(), element_type("O8", (3, "|", None, None, None, -1, -1, 63)), b"A" * 8
# With numpy's own functions in their place the first seven end the process, and others build what is no plain array.
CRAFTED = {
    "an object array with too few items": array_of((5,), OBJECT, [1, 2]),
    "objects whose flags are cleared": array_of((1,), element_type("O8", (3, "|", None, None, None, -1, -1, 0)), EIGHT),
    "a field beyond its element": array_of((2,), fields(4, ("a",), {"a": (np.dtype("f8"), 10**8)}), EIGHT),
    "an object field beyond its element": array_of((2,), fields(4, ("a",), {"a": (np.dtype("O"), 0)}), EIGHT),
    "an object field over bytes": array_of((1,), fields(8, ("a",), {"a": (np.dtype("O"), 0)}), EIGHT),
    "an alignment of 0": array_of((2,), element_type("V4", (3, "|", None, None, None, 4, 0, 0)), EIGHT),
    "objects out of a buffer": Described(_frombuffer, (EIGHT, np.dtype("O"), (1,), "C"), None),
    "an object array": array_of((2,), OBJECT, [1, 2]),
    "objects from a string": array_of((1,), element_type("O", None), EIGHT),
    "objects from bytes": array_of((1,), OBJECT, EIGHT),
    "names without fields": array_of((1,), fields(8, ("a",), {}), EIGHT),
    "fields that are no tuples": array_of((1,), fields(8, ("a",), {"a": 7}), EIGHT),
    "flags of objects": array_of((1,), fields(8, None, None, flags=63), EIGHT),
    "a part of another array": array_of(
        (2,), element_type("V4", (3, "|", (np.dtype("f8"), (9,)), None, None, 4, 1)), EIGHT
    ),
    "a size of -16": array_of((2,), element_type("U4", (3, "<", None, None, None, -16, 4, 0)), EIGHT),
    "metadata": array_of((2,), element_type("M8", (4, "<", None, None, None, -1, -1, 0, ({}, (b"x", 1, 1, 1)))), EIGHT),
    "an unknown byte order": array_of((2,), element_type("f4", (3, "!", None, None, None, -1, -1, 0)), EIGHT),
    "many element types": array_of((2,), element_type("f4," * 100), EIGHT),
    "a negative shape": array_of((-1, -2), FLOAT, EIGHT),
    "a shape of -2 by -1": array_of((-2, -1), FLOAT, EIGHT),
    "a shape of two to the 64th": array_of((2**32, 2**32), FLOAT, EIGHT),
    "an endless empty shape": array_of((0, 2**62, 2**62), FLOAT, b""),
    "a shape of 600 digits": array_of((0, 10**600), FLOAT, b""),
    "nine axes": array_of((1,) * 8 + (2,), FLOAT, EIGHT),
    "100 axes": array_of((1,) * 100, FLOAT, EIGHT[:4]),
    "a shape of truth values": array_of((True, 2), FLOAT, EIGHT),
    "a shape that is a number": array_of(2, FLOAT, EIGHT),
    "a content that is a number": array_of((2,), FLOAT, 8),
    "an array in place of its bytes": array_of((2,), FLOAT, array_of((2,), FLOAT, EIGHT)),
    "an array in place of its type": array_of((2,), array_of((2,), FLOAT, EIGHT), EIGHT),
    "uninitialised memory": Described(np.ndarray, ((256,), "u1"), None),
    "an array with strides": Described(np.ndarray, ((1000,), "u1", EIGHT, 0, (10**6,)), None),
    "an array of 64 GiB": Described(_reconstruct, (np.ndarray, (2**33,), b"d"), None),
    "a compressing codec": Described(codecs.encode, (EIGHT, "bz2_codec"), None),
    "a short state": Described(_reconstruct, (np.ndarray, (0,), b"b"), (1, (2,))),
    "two states": Described(_reconstruct, (np.ndarray, (0,), b"b"), ((1, (2,), FLOAT, False, EIGHT), {})),
}


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_state_is_refused_in_a_sentence(name, protocol):
    with pytest.raises(PickleError) as failure:
        read_pickled_array(pickle.dumps(CRAFTED[name], protocol))
    assert str(failure.value).endswith(".") and len(str(failure.value)) < 300


def test_a_version_is_not_looked_at():
    content = pickle.dumps(array_of((2,), FLOAT, np.array([1, -2], "<f4").tobytes(), version=99))
    np.testing.assert_array_equal(read_pickled_array(content), np.array([1, -2], np.float32), strict=True)


@pytest.fixture
def used_extension():
    """An extension code for os.getpid, which an earlier unpickling of this process has resolved."""
    copyreg.add_extension("os", "getpid", 240)
    call = b"\x82\xf0)R."
    assert pickle.loads(b"\x80\x02" + call) == os.getpid()
    yield call
    copyreg.remove_extension("os", "getpid", 240)
    copyreg.clear_extension_cache()


def test_an_extension_code_that_was_used_before_is_refused(used_extension):
    with pytest.raises(PickleError, match="EXT1"):
        read_pickled_array(b"\x80\x02" + used_extension)


def test_no_instruction_hides_behind_the_end_of_a_frame(used_extension):
    """The frame ends inside a length: an Unpickler that reads frames drops its half, and goes on two bytes later."""
    text = b"\0\0" + used_extension
    content = b"\x80\x04\x95" + struct.pack("<Q", 3) + b"B" + struct.pack("<I", len(text)) + text + b"."
    assert pickle.load(io.BytesIO(content)) == os.getpid()
    with pytest.raises(PickleError, match="it holds a bytes, not an array"):
        read_pickled_array(content)


def read_in_a_child(path):
    """Returns what a new process prints for a clip, and the growth of its peak in KiB (ru_maxrss starts at ours)."""
    script = (
        "import re, sys\n"
        "from hilight_jax.data.pickled_clips import PickleError, read_pickled_clip\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "try: print(read_pickled_clip(sys.argv[1]).shape, peak() - before)\n"
        "except PickleError as error: print(error, peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    said, _, grown = done.stdout.rpartition(" ")
    return said, int(grown)


def test_a_mebibyte_may_not_become_a_gibibyte(tmp_path):
    """One text, encoded again and again, would fill the memory if a recorded call were made at once."""
    text = b"X" + struct.pack("<I", 2**20) + b"x" * 2**20
    content = b"\x80\x02(c_codecs\nencode\nq\x00" + text + b"U\x06latin1\x86q\x01"
    (tmp_path / "x.pkl").write_bytes(content + b"h\x00h\x01R" * 300 + b"t.")
    said, grown = read_in_a_child(tmp_path / "x.pkl")
    assert said == "it holds a tuple, not an array of numbers." and grown < 2**16


def test_a_file_is_not_copied_when_its_frames_are_taken_out(tmp_path):
    content = pickle.dumps(np.zeros((56, 3, 224, 224), np.float32), 4)
    assert content[2:3] == pickle.FRAME and len(content) > 2**25
    (tmp_path / "x.pkl").write_bytes(content)
    said, grown = read_in_a_child(tmp_path / "x.pkl")
    assert said == "(56, 3, 224, 224)" and grown * 2**10 < 2.5 * len(content)


def test_memory_that_is_not_there_is_a_sentence(monkeypatch):
    def run_out(*_):
        raise MemoryError

    monkeypatch.setattr(np, "frombuffer", run_out)
    with pytest.raises(PickleError, match="takes more memory than there is"):
        read_pickled_array(pickle.dumps(ARRAY))


def test_float32_is_not_copied():
    array = read_pickled_array(pickle.dumps(ARRAY, 4))
    assert not array.flags.owndata and not array.flags.writeable


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_damage_is_a_sentence_or_other_numbers_but_never_a_crash(protocol):
    content, rng = pickle.dumps(ARRAY, protocol), random.Random(protocol)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            assert isinstance(read_pickled_array(bytes(damaged)), np.ndarray)
        except PickleError as error:
            assert str(error).endswith(".")


CLIP = np.linspace(-2, 2, 2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)


def stored(tmp_path, value):
    path = tmp_path / "clip.pkl"
    path.write_bytes(pickle.dumps(value))
    return path


@pytest.mark.parametrize("value", [CLIP, CLIP[None], CLIP.astype(np.float64), CLIP.astype(">f4")])
def test_a_clip_is_read_as_float32(tmp_path, value):
    clip = read_pickled_clip(stored(tmp_path, value))
    assert clip.dtype == np.dtype("float32") and clip.dtype.isnative
    np.testing.assert_array_equal(clip, CLIP)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (CLIP[0], r"shape \(3, 4, 4\); a clip is \[frames, 3, rows, columns\]"),
        (np.moveaxis(CLIP, 1, -1), r"shape \(2, 4, 4, 3\)"),
        (CLIP[:0], r"shape \(0, 3, 4, 4\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), "its array is uint8"),
        (CLIP * 100, "its values reach 200.0"),
        (CLIP * np.nan, "its values reach nan"),
        ({"video": CLIP}, "it holds more than an array"),
    ],
)
def test_what_is_no_clip_is_refused(tmp_path, value, sentence):
    with pytest.raises(PickleError, match=sentence):
        read_pickled_clip(stored(tmp_path, value))


def test_a_missing_or_huge_file_is_refused_unread(tmp_path):
    with pytest.raises(PickleError, match="does not exist"):
        read_pickled_clip(tmp_path / "missing.pkl")
    with open(tmp_path / "huge.pkl", "wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(PickleError, match="268435457 bytes, more than a clip can"):
        read_pickled_clip(tmp_path / "huge.pkl")
