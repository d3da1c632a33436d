"""The two rounding rules of Gemma's ``sqrt(D)``, by version of transformers, width and dtype; equal bit for bit."""

import jax.numpy as jnp
import numpy as np

from hilight_jax.models.gemma import scale_embeds
from hilight_jax.models.gemma_config import gemma_config_from_json
from tests.parity.case import Case

_DTYPES = {"fp16": jnp.float16, "bf16": jnp.bfloat16, "fp32": jnp.float32}


def check(case: Case) -> None:
    """Inputs are rounded to the dtype before they are scaled; neither pass may add precision of its own."""
    sizes = ("vocab_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")
    for match in list(case.names(r"outputs/v([\d.]+)/(H(\d+).*)_(\w+)")):
        version, which, width, dtype = match.groups()
        values = dict.fromkeys(sizes, 1) | {"hidden_size": int(width), "head_dim": 2}
        rule = gemma_config_from_json(values, rule=version).round_embed_scale
        x = jnp.asarray(case.input(f"x_{which}").astype(np.float32)).astype(_DTYPES[dtype])
        scaled = scale_embeds(x, rule)
        assert scaled.dtype == x.dtype
        case.exact(match[0], np.asarray(scaled, np.float64))
