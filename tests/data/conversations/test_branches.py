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
    return fit_context(ids, np.where(ids > 20, ids, IGNORE_ID), 100)


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
def test_branches_that_do_not_fit_are_left_out_and_told_of(room, kept):
    row, found = join(PARTS, WORDS, room)
    assert row.branch[-1] == kept and len(found.rows) == len(row.ids)
    told = f"its 12 tokens do not fit into {room}: its last {3 - kept} branches are cut."
    assert row.cut == ("" if kept == 3 else told)


def test_branches_are_conversations_about_all_clips():
    turns = [Turn(role, f"<video>\n{i}" if i in (0, 4) else str(i)) for i in range(3) for role in ("user", "model")]
    turns = tuple(Turn(role, text) for (role, text) in turns)
    whole = Conversation("a", (b"clip",), turns, ("x", "y", "z"), branches=(0, 4))
    first, second = branches_of(whole)
    assert first.turns == turns[:4] and second.turns == turns[4:]
    assert first.videos == second.videos == whole.videos and first.branches == first.types == ()
    assert branches_of(first) == [first]
