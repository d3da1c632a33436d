"""Runs an exported model with jax and safetensors alone: ``Model(DIR)``; manifest.json describes inputs and prompts."""

import functools
import json
import pathlib

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file


class Model:
    """The programs of a directory with their weights; each is compiled at the first call with a shape."""

    def __init__(self, directory):
        root = pathlib.Path(directory)
        self.manifest, self.programs = json.loads((root / "manifest.json").read_text()), {}
        files = sorted(root.glob("weights*.safetensors"))
        weights = {name: jnp.asarray(x) for file in files for name, x in load_file(file).items()}
        for name, reads in self.manifest["programs"].items():
            program = jax.export.deserialize(bytearray((root / f"{name}.stablehlo").read_bytes()))
            used_up = {"prefill": 5, "decode": 3}.get(name, ())  # The cache: written in place.
            run = jax.jit(program.call, donate_argnums=used_up)
            self.programs[name] = functools.partial(run, {key: weights[key] for key in reads})

    def encode(self, name, *inputs):
        """Runs ``encode_video`` or ``encode_text`` on one example, arrays as in the manifest: its outputs by name."""
        return jax.tree.map(lambda x: np.asarray(x[0]), self.programs[name](*(np.asarray(x)[None] for x in inputs)))

    def prefill(self, prompts, clips, room):
        """Reads lists of ids with the video tokens of their clips: scores [B, vocab], cache, next positions."""
        batch, length, width = len(prompts), max(map(len, prompts)), self.manifest["width"]
        rows = [np.concatenate([np.zeros((0, width), np.float32), *some]) for some in clips]
        tokens = np.zeros((batch, max(1, *map(len, rows)), width), np.float32)
        ids, mask = np.zeros((batch, length), np.int32), np.zeros((batch, length), bool)
        for i, (prompt, some) in enumerate(zip(prompts, rows, strict=True)):
            ids[i, length - len(prompt) :], mask[i, length - len(prompt) :] = prompt, True
            tokens[i, : len(some)] = some
        sizes = self.manifest["cache"]
        shape = (sizes["depth"], batch, length + room, sizes["num_kv_heads"], sizes["head_dim"])
        cache = {"mask": jnp.zeros((batch, length + room), bool), "length": jnp.int32(0)}
        cache |= {name: jnp.zeros(shape, sizes["dtype"]) for name in "kv"}
        positions = np.maximum(np.cumsum(mask, axis=1, dtype=np.int32) - 1, 0)
        out = self.programs["prefill"](ids, tokens, mask, positions, cache)
        return out["logits"], out["cache"], positions[:, -1] + 1

    def generate(self, prompts, clips, max_new_tokens=64, stop_ids=None):
        """Answers prompts greedily, all in one batch: lists of ids without the one that ended them."""
        stop_ids = self.manifest["stop_ids"] if stop_ids is None else stop_ids
        logits, cache, positions = self.prefill(prompts, clips, max_new_tokens)
        answers, over = [[] for _ in prompts], [False] * len(prompts)
        for step in range(max_new_tokens):
            ids = np.argmax(np.asarray(logits), axis=-1).astype(np.int32)
            over = [done or token in stop_ids for done, token in zip(over, ids.tolist(), strict=True)]
            answers = [a if done else [*a, token] for a, done, token in zip(answers, over, ids.tolist(), strict=True)]
            if all(over) or step + 1 == max_new_tokens:
                return answers
            out = self.programs["decode"](ids, positions + step, cache)
            logits, cache = out["logits"], out["cache"]
