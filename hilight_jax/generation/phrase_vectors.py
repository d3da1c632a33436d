"""The text tower's vectors of phrases; the latest are kept."""

import collections
import functools
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hilight_jax.core.trees import Tree
from hilight_jax.models.hilight import HiLight, variables
from hilight_jax.models.hilight_config import HiLightConfig

_AT_A_TIME = 16  # Phrases of a call, so that one program serves any number of them.
_KEPT = 16384  # Latest phrases whose vectors are kept, 2 KB each at E = 512.


class PhraseVectors:
    """Encodes phrases, and keeps the vectors of those used last.

    A domain has few different things, but users may write any words.
    """

    def __init__(self, encode: Callable[[np.ndarray, np.ndarray], Array]):
        """Takes a function of ids [n, L] and content [n, L] to vectors [n, E], which is called with one n only."""
        self._encode = encode
        self._known: collections.OrderedDict[bytes, np.ndarray] = collections.OrderedDict()

    def __call__(self, ids: Int[np.ndarray, "n L"], content: Bool[np.ndarray, "n L"]) -> Float[np.ndarray, "n E"]:
        """Returns the vectors of phrases in CLIP's ids; ``content`` marks the tokens that name something visible."""
        keys = [row.tobytes() + marks.tobytes() for row, marks in zip(ids, content, strict=True)]
        new = {key: number for number, key in enumerate(keys) if key not in self._known}
        numbers = list(new.values())
        for start in range(0, len(numbers), _AT_A_TIME):
            part = numbers[start : start + _AT_A_TIME]
            filled = [*part, *[part[-1]] * (_AT_A_TIME - len(part))]
            vectors = np.asarray(self._encode(ids[filled], content[filled]))
            self._known |= {keys[number]: vector for number, vector in zip(part, vectors, strict=False)}
        found = np.stack([self._known[key] for key in keys])
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return found


def chat_phrase_vectors(config: HiLightConfig, params: Tree) -> PhraseVectors:
    """Encodes phrases with the parts ``text`` and ``local`` of a chat model."""
    parts = variables({name: params[name] for name in ("text", "local")})
    return PhraseVectors(functools.partial(_encode, HiLight(config), parts))


@functools.partial(jax.jit, static_argnums=0)
def _encode(model: HiLight, params: Tree, ids: Int[Array, "n L"], content: Bool[Array, "n L"]) -> Float[Array, "n E"]:
    return model.apply(params, ids, ids > 0, content, method="encode_phrases")
