"""Runs an exported model with jax and safetensors alone: ``Model(DIR)``; manifest.json describes inputs and prompts."""

import functools
import importlib.util
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
        self.words, vectors = None, self.programs.get("word_vectors")
        if vectors is not None:
            self.words = _module(root / "words.py").Words(root, _module, vectors, self.manifest["max_clips"])

    def encode(self, name, *inputs):
        """Runs ``encode_video`` or ``encode_text`` on one example, arrays as in the manifest: its outputs by name."""
        return jax.tree.map(lambda x: np.asarray(x[0]), self.programs[name](*(np.asarray(x)[None] for x in inputs)))

    def prefill(self, prompts, clips, room):
        """Reads lists of ids with what ``encode_video`` gave for their clips: scores [B, vocab], cache, next positions.

        Of a model without word tracks the ``video_tokens`` alone are enough.
        """
        batch, length, width = len(prompts), max(map(len, prompts)), self.manifest["width"]
        shown = [[clip["video_tokens"] if isinstance(clip, dict) else clip for clip in some] for some in clips]
        rows = [np.concatenate([np.zeros((0, width), np.float32), *some]) for some in shown]
        tokens = np.zeros((batch, max(1, *map(len, rows)), width), np.float32)
        ids, mask = np.zeros((batch, length), np.int32), np.zeros((batch, length), bool)
        carried = np.zeros((batch, length, width), np.float32)
        for i, (prompt, some) in enumerate(zip(prompts, rows, strict=True)):
            ids[i, length - len(prompt) :], mask[i, length - len(prompt) :] = prompt, True
            tokens[i, : len(some)] = some
            if self.words is not None:
                carried[i, length - len(prompt) :] = self.words(prompt, clips[i], width)
        sizes = self.manifest["cache"]
        shape = (sizes["depth"], batch, length + room, sizes["num_kv_heads"], sizes["head_dim"])
        cache = {"mask": jnp.zeros((batch, length + room), bool), "length": jnp.int32(0)}
        cache |= {name: jnp.zeros(shape, sizes["dtype"]) for name in "kv"}
        positions = np.maximum(np.cumsum(mask, axis=1, dtype=np.int32) - 1, 0)
        more = () if self.words is None else (carried,)
        out = self.programs["prefill"](ids, tokens, mask, positions, cache, *more)
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


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
