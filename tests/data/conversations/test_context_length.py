import numpy as np
import pytest

from hilight_jax.core.shapes import IGNORE_ID, VIDEO_ID
from hilight_jax.data.conversations.context_length import ConversationError, fit_context

# bos, a clip of two rows, a question, an answer of two; a question, an answer of two.
IDS = np.array([2, VIDEO_ID, VIDEO_ID, 10, 11, 12, 13, 14, 15])
LABELS = np.array([IGNORE_ID] * 4 + [11, 12, IGNORE_ID, 14, 15])


def test_what_fits_is_left_as_it_is():
    fitted = fit_context(IDS, LABELS, 9)
    assert fitted.ids is IDS and fitted.labels is LABELS and fitted.cut == ""


@pytest.mark.parametrize(
    ("max_length", "cut"),
    [
        (8, "its 9 tokens do not fit into 8: the last 1 are cut, and with them all or part of answer 2."),
        (6, "its 9 tokens do not fit into 6: the last 3 are cut, and with them all or part of answer 2."),
        (5, "its 9 tokens do not fit into 5: the last 4 are cut, and with them all or part of answers 1 to 2."),
    ],
)
def test_the_first_tokens_are_kept_and_the_loss_is_told(max_length, cut):
    fitted = fit_context(IDS, LABELS, max_length)
    assert fitted.ids.tolist() == IDS[:max_length].tolist() and fitted.labels.tolist() == LABELS[:max_length].tolist()
    assert fitted.cut == cut


@pytest.mark.parametrize("max_length", [1, 2])
def test_a_clip_is_kept_whole_or_the_conversation_refused(max_length):
    with pytest.raises(ConversationError, match="through or before a clip.*which is kept whole"):
        fit_context(IDS, LABELS, max_length)


@pytest.mark.parametrize("max_length", [3, 4])
def test_a_conversation_whose_answers_would_all_be_cut_is_refused(max_length):
    with pytest.raises(ConversationError, match="all its answers lie in what would be cut"):
        fit_context(IDS, LABELS, max_length)
