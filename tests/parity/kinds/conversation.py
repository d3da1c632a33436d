"""Kind ``conversation``: ids, labels and prompts of HiLight's training, collator, command line and web page.

The numbers stand in the sidecar itself. ``modality_lengths`` and ``split_to_even_chunks`` are of the original's
sampler, which sorts by word count; ours takes positions from the step and pads to buckets (``NOT_OURS`` below).
"""

import re

import numpy as np

from hilight_jax.core.shapes import IGNORE_ID, VIDEO_ID
from hilight_jax.data.conversations import prompts
from hilight_jax.data.conversations.conversation import VIDEO_MARK, Turn
from hilight_jax.data.conversations.gemma_tokenizer import BOS_ID, GemmaTokenizer
from hilight_jax.data.frame_sampling import uniform_indices
from tests.parity.padding import pad_batch

ROLES = {"human": "user", "gpt": "model"}
NOT_OURS = {"modality_lengths", "split_to_even_chunks"}
DESCRIPTION = {"kind", "case", "source", "commits", "notes", "config"}


def check(case):
    """Compares every section; one that no rule matches fails by name."""
    facts = case.sidecar["facts"]
    tokenizer = GemmaTokenizer(case.path.parent / re.search(r"[\w.-]+\.model\b", facts["tokenizer"])[0])
    rules = {
        "facts": _check_facts,
        "training": _check_training,
        "collator": _check_collator,
        "inference": _check_inference,
        "frame_sampling_linspace12": _check_frames,
    }
    unmatched = set(case.sidecar) - set(rules) - NOT_OURS - DESCRIPTION
    assert not unmatched, f"{case.name}: matched by no rule: {', '.join(sorted(unmatched))}"
    for name, rule in rules.items():
        if name in case.sidecar:
            rule(case.sidecar, tokenizer)


def _check_facts(sidecar, tokenizer):
    facts = sidecar["facts"]
    assert {piece: tokenizer.encode(piece) for piece in facts["special_ids"]} == {
        piece: [i] for piece, i in facts["special_ids"].items()
    }
    assert (VIDEO_MARK, VIDEO_ID) == (facts["video_token"], facts["video_token_index"])
    assert facts["ignore_index"] == IGNORE_ID


def _check_training(sidecar, tokenizer):
    for golden in sidecar["training"]:
        name = golden["name"]
        placed = [(ROLES[said["from"]], said["value"]) for said in golden["after_preprocess_multimodal"]]
        assert prompts.render([Turn(*said) for said in placed]) == golden["prompt"], name
        example = _example(golden["conversations"], tokenizer)
        assert example.ids.tolist() == golden["input_ids"], name
        assert example.labels.tolist() == golden["labels"], name
        learned = example.labels[example.labels != IGNORE_ID]
        assert len(learned) == golden["num_supervised"], name
        assert tokenizer.decode(learned, keep_control=True) == golden["supervised_text"], name


def _check_collator(sidecar, tokenizer):
    collator = sidecar["collator"]
    conversations = {golden["name"]: golden["conversations"] for golden in sidecar["training"]}
    examples = [_example(conversations[name], tokenizer) for name in collator["cases"]]
    ids, mask, labels = pad_batch(examples, max(len(example.ids) for example in examples))
    np.testing.assert_array_equal(ids, collator["input_ids"])
    np.testing.assert_array_equal(mask, np.array(collator["attention_mask"], bool))
    np.testing.assert_array_equal(labels, collator["labels"])


def _check_inference(sidecar, tokenizer):
    for golden in sidecar["inference"]:
        if "system_prompt" in golden:
            _check_web_page(golden, tokenizer)
        else:
            _check_command_line(golden, tokenizer)


def _check_command_line(golden, tokenizer):
    """All clips stand before the first question, each on a line; later turns repeat the whole conversation."""
    marks = f"{VIDEO_MARK}\n" * len(golden["videos_file"].split(",")) if golden.get("videos_file") else ""
    turns = []
    for number, (question, expected) in enumerate(zip(golden["questions"], golden["turns"], strict=True)):
        turns.append(Turn("user", question if number else marks + question))
        prompt = prompts.render(turns) + prompts.ANSWER_START
        assert prompt == expected["get_prompt"], golden["name"]
        assert prompts.number_marks(prompt) == expected["final_prompt"], golden["name"]
        ids = prompts.tokenize(prompts.number_marks(prompt), tokenizer)
        assert ids.tolist() == expected["input_ids"], golden["name"]
        if all(question == question.strip() for question in golden["questions"]):
            assert prompts.prompt_ids(turns, tokenizer).tolist() == expected["input_ids"], golden["name"]
        turns.append(Turn("model", golden["answers"][number]))


def _check_web_page(golden, tokenizer):
    """A sentence before everything, marks where they were written, and one more ``<bos>`` behind every clip."""
    for turn in golden["turns"]:
        ids = prompts.tokenize(golden["system_prompt"] + turn["get_prompt"], tokenizer)
        with_starts = [i for token in ids.tolist() for i in ([token, BOS_ID] if token == VIDEO_ID else [token])]
        assert with_starts == turn["input_ids"], golden["name"]


def _check_frames(sidecar, _):
    for count, frames in sidecar["frame_sampling_linspace12"].items():
        assert uniform_indices(int(count), 12).tolist() == frames, count


def _example(conversations, tokenizer):
    turns = [Turn(ROLES[said["from"]], said["value"]) for said in conversations]
    return prompts.training_example(turns, 1, tokenizer)
