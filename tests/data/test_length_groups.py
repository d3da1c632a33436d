import pickle

import numpy as np

from hilight_jax.data.length_groups import LengthGroups

# Examples 0 to 11, each as long as its number's place here; runs of two batches of three.
LENGTHS = np.array([9, 1, 8, 2, 7, 3, 5, 5, 5, 1, 1, 1])
RUNS = [(np.arange(6), np.arange(6)), (np.arange(6, 12), np.arange(6, 12))]


def lengths(places):
    return LENGTHS[places[1]]


def batches(groups, steps):
    return [groups(step)[1].tolist() for step in steps]


def test_a_run_holds_its_own_examples_short_ones_together():
    assert sorted(batches(LengthGroups(RUNS, lengths, 2, 0), (0, 1))) == [[1, 3, 5], [4, 2, 0]]
    assert sorted(batches(LengthGroups(RUNS, lengths, 2, 0), (2, 3))) == [[6, 7, 8], [9, 10, 11]]


def test_the_short_batch_is_not_always_the_first():
    runs = [RUNS[0]] * 20
    firsts = {tuple(batches(LengthGroups(runs, lengths, 2, 0), (2 * run,))[0]) for run in range(20)}
    assert firsts == {(1, 3, 5), (4, 2, 0)}


def test_a_batch_is_a_function_of_its_number_and_the_seed():
    groups = LengthGroups(RUNS, lengths, 2, 7)
    forwards = batches(groups, range(4))
    assert batches(pickle.loads(pickle.dumps(groups)), (3, 1, 0, 2)) == [forwards[i] for i in (3, 1, 0, 2)]


def test_positions_stay_with_their_examples():
    runs = [(np.arange(100, 106), np.arange(6))]
    positions, indices = LengthGroups(runs, lengths, 2, 0)(0)
    assert (positions - 100).tolist() == indices.tolist()
