"""Runs an exported model with jax and safetensors alone: ``Model(DIR)``; see manifest.json for inputs and prompts."""

import functools
import json
import pathlib

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file


class Model:
    """The programs of a directory and their weights."""

    def __init__(self, directory):
        """Reads everything; each program is compiled for a shape when it first meets it."""
        root = pathlib.Path(directory)
        self.manifest = json.loads((root / "manifest.json").read_text())
        files = sorted(root.glob("weights*.safetensors"))
        weights = {name: jnp.asarray(x) for file in files for name, x in load_file(file).items()}
        self._programs = {}
        for name, reads in self.manifest["programs"].items():
            program = jax.export.deserialize(bytearray((root / f"{name}.stablehlo").read_bytes()))
            self._programs[name] = functools.partial(jax.jit(program.call), {key: weights[key] for key in reads})

    def encode_video(self, frames, key_frames=None):
        """A clip [F, Y, X, 3] uint8: its rows for the language model, or an encoder's outputs by name."""
        inputs = [np.asarray(frames, np.uint8)[None]]
        if key_frames is not None:
            inputs.append(np.asarray(key_frames, np.int32)[None])
        out = jax.tree.map(lambda x: np.asarray(x[0]), self._programs["encode_video"](*inputs))
        return out if key_frames is None else out["video_tokens"]

    def encode_text(self, ids, mask):
        """A text's CLIP ids [L] and which of them are real: an encoder's outputs by name."""
        inputs = np.asarray(ids, np.int32)[None], np.asarray(mask, bool)[None]
        return jax.tree.map(lambda x: np.asarray(x[0]), self._programs["encode_text"](*inputs))

    def prefill(self, prompts, clips, room):
        """Reads prompts (lists of ids) with the rows of their clips: scores [B, vocab], cache, next positions."""
        batch, length = len(prompts), max(map(len, prompts))
        rows = [np.concatenate([np.zeros((0, self.manifest["width"]), np.float32), *some]) for some in clips]
        tokens = np.zeros((batch, max(1, *map(len, rows)), self.manifest["width"]), np.float32)
        ids, mask = np.zeros((batch, length), np.int32), np.zeros((batch, length), bool)
        for i, (prompt, some) in enumerate(zip(prompts, rows, strict=True)):
            ids[i, length - len(prompt) :], mask[i, length - len(prompt) :] = prompt, True
            tokens[i, : len(some)] = some
        c = self.manifest["cache"]
        entries = jnp.zeros((c["depth"], batch, length + room, c["num_kv_heads"], c["head_dim"]), c["dtype"])
        cache = {"k": entries, "v": entries, "mask": jnp.zeros((batch, length + room), bool), "length": jnp.int32(0)}
        positions = np.maximum(np.cumsum(mask, axis=1, dtype=np.int32) - 1, 0)
        out = self._programs["prefill"](ids, tokens, mask, positions, cache)
        return out["logits"], out["cache"], positions[:, -1] + 1

    def generate(self, prompts, clips, max_new_tokens=64, stop_ids=None):
        """Answers prompts greedily, all in one batch: lists of ids without the one that ended them."""
        stop_ids = self.manifest["stop_ids"] if stop_ids is None else stop_ids
        logits, cache, positions = self.prefill(prompts, clips, max_new_tokens)
        answers, over = [[] for _ in prompts], [False] * len(prompts)
        for step in range(max_new_tokens):
            ids = np.argmax(np.asarray(logits), axis=-1).astype(np.int32)
            for i, token in enumerate(ids.tolist()):
                over[i] = over[i] or token in stop_ids
                answers[i] += [] if over[i] else [token]
            if all(over) or step + 1 == max_new_tokens:
                break
            out = self._programs["decode"](ids, positions + step, cache)
            logits, cache = out["logits"], out["cache"]
        return answers
