"""Messages as the turns of a conversation."""

import pytest

pytest.importorskip("fastapi")

from hilight_jax.data.conversations.conversation import Turn
from hilight_jax.serving.protocol import Message, turns_of


def turns(*messages):
    return turns_of([Message(role=role, content=content) for role, content in messages])[0]


def test_a_system_message_stands_before_the_next_question():
    found = turns(("system", "Be brief."), ("user", "Is it red?"), ("assistant", "No."), ("user", "Blue?"))
    assert found == [Turn("user", "Be brief.\nIs it red?"), Turn("model", "No."), Turn("user", "Blue?")]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_message_at_the_end_stands_behind_the_last_question(role):
    assert turns(("user", "Is it red?"), (role, " Be brief. ")) == [Turn("user", "Is it red?\nBe brief.")]
    assert turns(("user", "Is it red?"), (role, "  ")) == [Turn("user", "Is it red?")]


def test_a_system_message_behind_an_answer_leaves_the_answer_last():
    """Such a conversation is refused: it ends with no question."""
    assert turns(("user", "Is it red?"), ("assistant", "No."), ("system", "Be brief."))[-1] == Turn("model", "No.")
