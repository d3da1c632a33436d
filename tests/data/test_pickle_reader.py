import os
import pickle
import random

import numpy as np
import pytest

from hilight_jax.data.pickle_reader import PickleError, read_pickled_array

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
