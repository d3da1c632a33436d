"""A chat stage, whose batches have several lengths, on two processes and on one."""

import dataclasses
import itertools

import pytest

from hilight_jax.data.conversations.loader import ConversationLoader
from hilight_jax.data.conversations.sources import open_conversations
from hilight_jax.data.pipelines import Pipeline
from hilight_jax.stages.load_config import read_config
from tests.multi_process.job import FLOAT64, losses, succeed
from tests.stages.runs import chat_overrides, make_towers
from tests.stages.tiny_chat import SMALL

pytestmark = pytest.mark.slow
RUN = (
    *SMALL,
    *FLOAT64,
    "--config.batch_size=2",
    "--config.log_every=1",
    "--config.cache_gb=0",
    "--config.steps=4",
    "--config.eval_every=2",
    "--config.data.buckets=(80,96,112,128,144,160,192,256,1024)",
)


def lengths(workdir):
    """The lengths of the batches of a run, clips that a row has room for beside them."""
    config = read_config(workdir)
    data = dataclasses.replace(config.data, tokenizer=str(workdir / "tokenizer.model"), num_workers=0)
    source = open_conversations(data.train)
    with Pipeline(data, source, ConversationLoader(data, source, config.seed), config.seed).batches(2) as batches:
        return {(batch["ids"].shape[1], batch["video"].shape[1]) for batch in itertools.islice(batches, config.steps)}


def test_align_on_two_processes_has_the_losses_of_one(data_dir, tmp_path):
    questions = f"--config.data.train=questions:{data_dir}/demo-v2/1.0.0/train,turns=3,two_clips=0.5,apart=0.5"
    overrides = chat_overrides(*make_towers(tmp_path / "towers"), questions)
    for count in (1, 2):
        config = ["--config", "configs/align.py:demo,frames=long_clip", "--workdir", str(tmp_path / f"on-{count}")]
        succeed([*config, "--data_dir", str(data_dir), *RUN, *overrides], count)
    assert len(lengths(tmp_path / "on-1")) > 1
    for name in ("loss", "validation/next_token", "validation/answers_right"):
        one, two = losses(tmp_path / "on-1", name), losses(tmp_path / "on-2", name)
        assert len(one) in (2, 4) and two == pytest.approx(one, abs=1e-5), name
