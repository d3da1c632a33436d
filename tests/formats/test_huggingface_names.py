"""Names of exported chat models: every parameter has one, and comes back bit for bit."""

import dataclasses

import numpy as np
import pytest

from hilight_jax.core.trees import flatten
from hilight_jax.formats.huggingface_names import chat_from_huggingface, chat_to_huggingface
from hilight_jax.models.hilight import param_shapes
from tests.models import tiny_hilight

OPTIONS = {
    "all options": {"positions": True, "num_heads": 2, "residual": True, "final_norm": True},
    "grid pooling": {"structure": "grid_pooling", "tokens_per_frame": 4, "positions": True},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_a_connector_with_options_comes_back(options):
    config = tiny_hilight.config(token_mining=dataclasses.replace(tiny_hilight.TOKEN_MINING, **OPTIONS[options]))
    params = {"token_mining": tiny_hilight.params(config)["token_mining"]}
    weights = chat_to_huggingface(params)
    assert weights["token_mining.value_positions.row"].shape == (2, 10)
    assert ("token_mining.final_norm.weight" in weights) == (options == "all options")
    template = {"token_mining": param_shapes(config)["token_mining"]}
    back = flatten(chat_from_huggingface(weights, template))
    for path, x in flatten(params).items():
        np.testing.assert_array_equal(back[path], x, err_msg=path)
