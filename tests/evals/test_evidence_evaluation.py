"""Evidence of a model that sees coloured discs, and of a tiny one that has learnt nothing."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from hilight_jax.billiards.encoding import encode_video
from hilight_jax.core.errors import DataError
from hilight_jax.core.shapes import VIDEO_ID
from hilight_jax.data.config import ConversationDataConfig
from hilight_jax.data.conversations.conversation import Conversation, Turn
from hilight_jax.data.conversations.gemma_tokenizer import GemmaTokenizer
from hilight_jax.data.frame_sampling import KeyFrameConfig
from hilight_jax.evals.evidence_evaluation import evaluate_evidence
from hilight_jax.generation.generator import Generator
from hilight_jax.generation.sampling import SamplingConfig
from tests.data.conversations.tiny_gemma import TOKENIZER
from tests.evals.coloured_screens import DATA
from tests.models import tiny_hilight
from tests.serving.workdirs import TOKENIZER as TOKENIZER_PATH
from tests.serving.workdirs import VOCAB_SIZE

COLOURS, SIDE, PATCH = ("red", "green", "blue"), 32, 8
CENTRES = {"red": (12, 12), "green": (28, 20), "blue": (4, 28)}  # x, y: each in the middle of a patch


class Discs:
    """Each clip shows a red and a blue or a green disc, which stand still in both frames; asked for each colour."""

    name = "questions:discs/validation"

    def __init__(self, labelled=True):
        self._labelled = labelled

    def __len__(self):
        return 4

    def conversation(self, index, rng):
        shown = ("red", "blue" if index % 2 else "green")
        frames = np.full((2, SIDE, SIDE, 3), 10 * index, np.uint8)
        rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
        objects, text, spans = {}, "", []
        for colour in shown:
            x, y = CENTRES[colour]
            frames[:, np.hypot(rows - y, columns - x) < 4] = 250 * np.eye(3)[COLOURS.index(colour)]
            objects[f"ball:{colour}"] = {"x": [x] * 2, "y": [y] * 2, "radius": [4] * 2, "visible": [1] * 2}
            name = f"the {colour} ball"
            spans.append({"start": len(text), "end": len(text) + len(name), "kind": "ball", "object": f"ball:{colour}"})
            text += f"{name} "
        labels = {"width": SIDE, "height": SIDE, "objects": objects, "captions": [{"text": text, "spans": spans}]}
        asked = [(f"Is the {c} ball in view?", "Yes." if c in shown else "No.", "in_view") for c in COLOURS]
        asked.append(("How many balls are there?", "Two.", "count"))
        asked.append(("What colour is the cloth?", "Red.", "cloth"))
        turns = [Turn(*pair) for question, answer, _ in asked for pair in (("user", question), ("model", answer))]
        turns[0] = turns[0]._replace(text=f"<video>\n{turns[0].text}")
        kinds = tuple(kind for *_, kind in asked)
        clip = (encode_video(frames, fps=2),)
        return Conversation(f"discs/{index}", clip, tuple(turns), kinds, labels=(labels,) if self._labelled else ())


class DiscSpeaker:
    """Answers by the colours that it finds; its three rows of a clip are the maps of the colours."""

    words = None

    def __init__(self):
        vision = SimpleNamespace(image_size=SIDE, patch_size=PATCH, num_proxy_tokens=0)
        self.config, self.tokenizer, self.sizes = SimpleNamespace(vision=vision), TOKENIZER, set()

    def encode_clip(self, frames, key_frames, closer=None):
        cells = frames.reshape(2, SIDE // PATCH, PATCH, SIDE // PATCH, PATCH, 3).mean((2, 4)).reshape(-1, 3)
        colour = np.maximum(cells - cells.min(1, keepdims=True) - 60, 0)
        maps = (colour / np.maximum(colour.sum(0), 1)).T
        return SimpleNamespace(digest=str(hash(frames.tobytes())), tokens=np.zeros((3, 1)), attention=maps)

    def generate(self, prompts, sampling):
        self.sizes.add(len(prompts))
        return [SimpleNamespace(text=self._answer(p), ids=np.array([5])) for p in prompts]

    def contributions(self, prompt, answer_ids):
        own = np.zeros(len(prompt.ids))
        own[np.flatnonzero(prompt.ids == VIDEO_ID)[self._asked(prompt)]] = 1
        return own, 0 * own

    def _asked(self, prompt):
        text = TOKENIZER.decode(prompt.ids)
        return next(number for number, colour in enumerate(COLOURS) if colour in text)

    def _answer(self, prompt):
        return "Yes." if prompt.clips[0].attention[self._asked(prompt)].any() else "No."


@pytest.mark.parametrize("batch_size", [3, 8])
def test_evidence_of_the_model_that_sees_lies_on_the_ball_and_decides(batch_size):
    """Eight questions name a ball of their clip; red balls are in every clip, the others in every second one."""
    speaker = DiscSpeaker()
    result = evaluate_evidence(speaker, SamplingConfig(), Discs(), DATA, 100, batch_size=batch_size)
    whole = result["overall"]
    assert list(result["types"]) == ["in_view"] and not result["skipped"] and speaker.sizes == {batch_size}
    assert [result[name] for name in ("questions", "clips", "per_kind")] == [8, 4, 100]
    assert whole["share"] == 1 and whole["area"] == 1 / 16 and whole["hidden"] == 4
    assert whole["changed"] == 1 and whole["changed_random"] < 0.5 and whole["changed_other_balls"] == 0
    assert whole["other_clip"] == pytest.approx(3 / 6)  # Red is in the same place; nothing came before the first two.
    json.dumps(result, allow_nan=False)


class Pairs(Discs):
    """The first clip and each of them; every second one shows no green disc."""

    def conversation(self, index, rng):
        one, two = super().conversation(0, rng), super().conversation(index, rng)
        turns = (Turn("user", "<video>\n<video>\nIs the green ball there?"), Turn("model", "Yes."))
        return Conversation(two.id, one.videos + two.videos, turns, ("two",), labels=one.labels + two.labels)


def test_clips_without_the_ball_do_not_count():
    """Half of the area would be that of all patches of both clips where one shows no such ball."""
    result = evaluate_evidence(DiscSpeaker(), SamplingConfig(), Pairs(), DATA, 100, batch_size=2)
    whole = result["overall"]
    assert [whole[name] for name in ("questions", "share", "area", "changed")] == [4, 1, 1 / 16, 1]
    assert whole["other_clip"] is None  # The first clip is the only other one.


def test_only_the_first_questions_of_each_kind_are_measured():
    result = evaluate_evidence(DiscSpeaker(), SamplingConfig(), Discs(), DATA, 3)
    assert result["questions"] == 3 and result["clips"] == 2


@pytest.mark.parametrize("follow_ups", [False, True])
def test_a_source_without_places_is_refused_before_anything_is_read(follow_ups):
    class Unlabelled(Discs):
        def conversation(self, index, rng):
            one = super().conversation(index, rng)
            return one._replace(types=("follow_up",) * len(one.types)) if follow_ups else one

    speaker = DiscSpeaker()
    speaker.encode_clip = None
    with pytest.raises(DataError, match="discs/validation' has no question that names a ball whose place is known"):
        evaluate_evidence(speaker, SamplingConfig(), Unlabelled(labelled=False), DATA, 3)


def test_balls_that_are_named_and_have_no_place_are_refused_before_anything_is_asked():
    class Placeless(Discs):
        def conversation(self, index, rng):
            one = super().conversation(index, rng)
            return one._replace(labels=({**one.labels[0], "objects": {}},))

    speaker = DiscSpeaker()
    with pytest.raises(DataError, match="has no question that names a ball whose place is known"):
        evaluate_evidence(speaker, SamplingConfig(), Placeless(), DATA, 3)
    assert not speaker.sizes


def test_where_every_answer_is_empty_the_evidence_is_left_out(capsys):
    class Silent(DiscSpeaker):
        def generate(self, prompts, sampling):
            return [SimpleNamespace(text="", ids=np.array([], int)) for _ in prompts]

    assert evaluate_evidence(Silent(), SamplingConfig(), Discs(), DATA, 3) is None
    assert capsys.readouterr().err == (
        "the evidence of 'questions:discs/validation' is left out, as none of its 3 questions could be measured "
        "(discs/0#0: its answer is empty).\n"
    )


def test_an_answer_that_stays_letter_by_letter_has_not_changed():
    class Pointer(DiscSpeaker):
        def _answer(self, prompt):
            return '<point x="1.2.3" y="10" t="0">'  # Of such a point no point is near.

    class Pointed(Discs):
        def conversation(self, index, rng):
            one = super().conversation(index, rng)
            return one._replace(types=(*["point"] * (len(one.types) - 1), "cloth"))

    assert evaluate_evidence(Pointer(), SamplingConfig(), Pointed(), DATA, 3)["overall"]["changed"] == 0


def test_a_model_without_word_tracks_is_measured_whatever_the_batch():
    config = tiny_hilight.config(gemma=dataclasses.replace(tiny_hilight.GEMMA, vocab_size=VOCAB_SIZE))
    generator = Generator(config, tiny_hilight.params(config), GemmaTokenizer(TOKENIZER_PATH), max_length=96)
    data = ConversationDataConfig(
        num_frames=config.vision.num_frames,
        image_size=config.vision.image_size,
        key_frames=KeyFrameConfig(count=2),
        num_video_tokens=4,
        tokenizer=str(TOKENIZER_PATH),
        max_length=96,
    )
    sampling = SamplingConfig(max_new_tokens=3, stop_ids=(VOCAB_SIZE - 1,))
    first, second = (evaluate_evidence(generator, sampling, Discs(), data, 2, batch_size=size) for size in (1, 2))
    assert first["questions"] == 2 and 0 < first["overall"]["share"] < 1
    assert first["overall"]["changed"] == second["overall"]["changed"]
    assert first["overall"]["share"] == pytest.approx(second["overall"]["share"], rel=1e-4)
