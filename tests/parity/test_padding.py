import numpy as np

from tests.parity.padding import pad_batch


def test_padding_on_either_side():
    examples = [(np.array([2, 9]), np.array([-100, 9])), (np.array([2, 8, 1]), np.array([-100, 8, 1]))]
    ids, mask, labels = pad_batch(examples, 4)
    assert ids.tolist() == [[2, 9, 0, 0], [2, 8, 1, 0]]
    assert labels.tolist() == [[-100, 9, -100, -100], [-100, 8, 1, -100]]
    np.testing.assert_array_equal(mask, ids > 0)
    ids, mask, labels = pad_batch(examples, 4, side="left")
    assert ids.tolist() == [[0, 0, 2, 9], [0, 2, 8, 1]]
    assert labels.tolist() == [[-100, -100, -100, 9], [-100, -100, 8, 1]]
    np.testing.assert_array_equal(mask, ids > 0)
