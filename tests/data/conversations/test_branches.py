"""Conversations about the same clips in one row."""

import numpy as np
import pytest

from hilight_jax.core.shapes import IGNORE_ID, VIDEO_ID
from hilight_jax.data.conversations.branches import branches_of, join
from hilight_jax.data.conversations.conversation import Conversation, Turn
from hilight_jax.data.conversations.phrases import Words
from hilight_jax.data.conversations.prompts import fit_context

V = VIDEO_ID
TRUNK = [2, 5, V, V]


def part(*ids):
    ids = np.array([*TRUNK, *ids], np.int32)
    return fit_context(ids, np.where(ids > 20, ids, IGNORE_ID), 1000)


def words(*rows, phrases):
    return Words(np.array([0] * len(TRUNK) + list(rows), np.int32), phrases)


PARTS = part(7, 8, 21), part(9, 22), part(7, 23, 24)
WORDS = (
    words(1, 2, 0, phrases=("the red ball", "the cue ball")),
    words(1, 0, phrases=("the cue ball",)),
    words(0, 0, 0, phrases=()),
)


def test_the_clips_come_once_and_every_branch_goes_on_from_them():
    row, found = join(PARTS, WORDS, 100)
    assert row.ids.tolist() == [*TRUNK, 7, 8, 21, 9, 22, 7, 23, 24]
    assert row.labels.tolist() == [-100] * 6 + [21, -100, 22, -100, 23, 24]
    assert row.positions.tolist() == [0, 1, 2, 3, 4, 5, 6, 4, 5, 4, 5, 6]
    assert row.branch.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert row.cut == ""
    assert found.phrases == ("the red ball", "the cue ball")
    assert found.rows.tolist() == [0, 0, 0, 0, 1, 2, 0, 2, 0, 0, 0, 0]


@pytest.mark.parametrize(("room", "kept"), [(12, 3), (11, 2), (9, 2), (8, 1), (3, 1)])
def test_branches_that_do_not_fit_are_dropped_with_a_sentence(room, kept):
    row, found = join(PARTS, WORDS, room)
    assert row.branch[-1] == kept and len(found.rows) == len(row.ids)
    told = f"its 12 tokens do not fit into {room}: of 3 branches {kept} are kept."
    assert row.cut == ("" if kept == 3 else told)


def test_without_a_clip_the_trunk_is_the_first_token():
    parts = [fit_context(np.array([2, *ids]), np.full(1 + len(ids), IGNORE_ID), 100) for ids in ([7, 8], [9])]
    row, _ = join(parts, [Words(np.zeros(len(part.ids), np.int32), ()) for part in parts], 100)
    assert row.ids.tolist() == [2, 7, 8, 9] and row.branch.tolist() == [0, 1, 1, 2]
    assert row.positions.tolist() == [0, 1, 2, 1]


def test_of_too_many_phrases_the_latest_are_kept():
    parts = [part(*range(5, 205))] * 2
    names = [tuple(f"the {letter} {k}" for k in range(200)) for letter in "ab"]
    found = [words(*range(1, 201), phrases=phrases) for phrases in names]
    row, joined = join(parts, found, 1000)
    assert len(joined.phrases) == 256 and joined.phrases[-1] == "the b 199" and joined.phrases[0] == "the a 144"
    assert joined.rows[len(TRUNK) + 143] == 0 and joined.rows[len(TRUNK) + 144] == 1 and joined.rows[-1] == 256
    assert len(joined.rows) == len(row.ids)


def test_branches_are_conversations_about_all_clips():
    first = (Turn("user", "<video>\nWhat?"), Turn("model", "A."), Turn("user", "And then?"), Turn("model", "B."))
    second = (Turn("user", "<video>\nWhere?"), Turn("model", "C."))
    whole = Conversation("a", (b"clip",), (*first, *second), ("x", "y", "z"), branches=(0, 4))
    branches = branches_of(whole)
    assert [branch.turns for branch in branches] == [first, second]
    assert all(branch.videos == (b"clip",) and branch.branches == branch.types == () for branch in branches)
    assert branches_of(branches[0]) == branches[:1]
