import numpy as np
import pytest

from hilight_jax.core.errors import UserError
from hilight_jax.core.lazy import LazyArray, Shared, lazy


def counted(x):
    reads = []

    def read():
        reads.append(1)
        return x

    return LazyArray(x.shape, x.dtype, read), reads


def test_nothing_is_read_before_it_is_asked_for():
    x, reads = counted(np.arange(6.0).reshape(2, 3))
    half = x.astype(np.float16).map(lambda x: x[0], (3,))
    assert (half.shape, half.dtype, half.size, half.nbytes, half.ndim) == ((3,), np.float16, 3, 6, 1)
    assert reads == []
    np.testing.assert_array_equal(np.asarray(half), np.array([0, 1, 2], np.float16))
    assert reads == [1]


def test_an_array_that_comes_out_otherwise_than_described_is_refused():
    with pytest.raises(ValueError, match=r"\(2,\) float32 was read as \(3,\) float64"):
        LazyArray((2,), np.float32, lambda: np.zeros(3)).read()


def test_a_scalar_keeps_its_shape():
    assert np.asarray(lazy(np.float32(2.5) * np.ones(()))).shape == ()
    assert lazy(np.ones(())).size == 1


def test_pieces_of_one_array_read_it_once_and_then_let_it_go():
    x, reads = counted(np.arange(6.0).reshape(3, 2))
    shared = Shared(x, 3)
    pieces = [shared.piece(lambda x, i=i: x[i], (2,)) for i in range(3)]
    assert [np.asarray(piece).tolist() for piece in pieces] == [[0, 1], [2, 3], [4, 5]]
    assert reads == [1]
    assert shared._held is None
    assert np.asarray(pieces[1]).tolist() == [2, 3]
    assert reads == [1, 1]


def test_a_number_that_float16_cannot_hold_is_said_instead_of_becoming_infinite():
    with pytest.raises(UserError, match=r"a weight of 7e\+04 does not fit into float16"):
        lazy(np.array([1.0, -70000.0])).astype(np.float16).read()
    assert np.asarray(lazy(np.array([np.inf])).astype(np.float16)).tolist() == [np.inf]
