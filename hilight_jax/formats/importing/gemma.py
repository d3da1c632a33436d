"""Imports a Gemma-1, and LoRA adapters of PEFT's for it."""

import math
import re
from collections.abc import Mapping
from typing import Any

import jax

from hilight_jax.core.errors import CheckpointError
from hilight_jax.core.lazy import LazyArray
from hilight_jax.core.trees import Tree
from hilight_jax.formats import gemma_names
from hilight_jax.formats.checkpoint_files import Foreign
from hilight_jax.formats.importing.imported_model import Imported, set_aside
from hilight_jax.models import hilight, lora
from hilight_jax.models.gemma_config import GemmaConfig, gemma_config_from_json
from hilight_jax.models.hilight_config import HiLightConfig
from hilight_jax.models.lora import LoraConfig
from hilight_jax.models.token_mining_config import TokenMiningConfig

# The version of transformers that reads the activation that Gemma was trained with from any of its config.json files.
GEMMA_RULE = "4.40.0"
TIED_HEAD = (r"lm_head\.weight", "the output head, which is the embedding table (compared)")
# Fields of adapter_config.json that make an adapter more than a delta of the weights.
_MORE_THAN_LORA = (
    *("use_dora", "lora_bias", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save"),
    *("layer_replication", "alora_invocation_tokens", "trainable_token_indices"),
)
# Initialisations of adapters that change the model's own weights too; PEFT can write their deltas as plain ones.
_CHANGES_THE_MODEL = ("pissa", "olora", "corda", "loftq", "lora_ga")


def import_gemma(foreign: Foreign, rule: str = GEMMA_RULE) -> Imported:
    """A language model by itself; ``rule`` as in ``gemma_config_from_json``.

    Raises:
      CheckpointError: There is no config.json, or the arrays do not fit it.
    """
    config = language_config(foreign, rule)
    whole = HiLightConfig(token_mining=TokenMiningConfig(width_out=config.width), gemma=config)
    template = hilight.param_shapes(whole)["gemma"]
    params, used, left = language_params(foreign.weights, template)
    choices = (f"hidden_act is '{config.hidden_act}', as transformers {rule} reads its config.json",)
    return Imported("Gemma", "language_model", whole, {"gemma": params}, used, left, {"weights": foreign}, choices)


def language_config(foreign: Foreign, rule: str) -> GemmaConfig:
    """The sizes in a config.json.

    Raises:
      CheckpointError: There is none, or it has more layers than there are arrays.
    """
    if not foreign.config:
        raise CheckpointError(
            f"'{foreign.path}' has no config.json, and heads and activation of a language model cannot be read from "
            f"its arrays; put the one that belongs to it beside the weights, or give it by --model_config."
        )
    config = gemma_config_from_json(foreign.config, rule)
    if config.depth > len(foreign.weights):
        raise CheckpointError(
            f"config.json has num_hidden_layers={config.depth}, but '{foreign.path}' holds {len(foreign.weights)} "
            f"arrays; take the config.json that came with the weights."
        )
    return config


def language_params(weights: Mapping[str, LazyArray], template: Tree) -> tuple[dict[str, Any], int, dict[str, str]]:
    """The parameters, the number of arrays that they came from, and the arrays left over with the reason."""
    checked = gemma_names.without_tied_head(weights)
    kept, left = set_aside(weights, [TIED_HEAD])
    return gemma_names.from_official({name: checked[name] for name in kept}, template), len(kept), left


def import_adapter(foreign: Foreign, gemma_template: Tree) -> tuple[LoraConfig, dict[str, Any]]:
    """An adapter directory of PEFT's (adapter_config.json and adapter_model.*) on a language model of these shapes.

    Returns:
      Rank, scale and targets, and the collection ``lora``.

    Raises:
      CheckpointError: It is another kind of adapter, or does not fit.
    """
    config = foreign.config
    if config.get("peft_type") != "LORA":
        raise CheckpointError(
            f"'{foreign.path}' has no adapter_config.json with peft_type LORA (there is {config.get('peft_type')!r}); "
            f"only LoRA adapters can be used."
        )
    for name in _MORE_THAN_LORA:
        if config.get(name):
            raise CheckpointError(
                f"adapter_config.json has {name}={config[name]!r}, which is more than plain LoRA; merge it with PEFT "
                f"first and convert the merged model."
            )
    if config.get("bias", "none") != "none":
        raise CheckpointError(f"adapter_config.json has bias={config['bias']!r}, but only 'none' can be used.")
    if str(beginning := config.get("init_lora_weights")).lower().startswith(_CHANGES_THE_MODEL):
        raise CheckpointError(
            f"adapter_config.json has init_lora_weights={beginning!r}, which changed the model's own weights too; save "
            f"the adapter with PEFT's path_initial_model_for_weight_conversion, or merge it, and convert that."
        )
    weights = {_plain(name): x for name, x in foreign.weights.items()}
    rank, alpha, dropout = config.get("r"), config.get("lora_alpha"), config.get("lora_dropout") or 0.0
    if not (type(rank) is int and rank > 0 and all(type(x) in (int, float) for x in (alpha, dropout))):
        raise CheckpointError(
            f"adapter_config.json has r={rank!r}, lora_alpha={alpha!r} and lora_dropout={dropout!r}, but they must be "
            f"numbers, and r at least 1; take the one that came with the adapter."
        )
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    table = gemma_names.ADAPTER_TABLE
    paths = {entry.ours.rpartition("/")[0] for entry in table if entry.theirs.format(layer=0) in weights}
    if not paths:
        first = next(iter(weights), None)
        raise CheckpointError(f"'{foreign.path}' holds no array of a LoRA adapter of Gemma's; its first is '{first}'.")
    adapter = LoraConfig(rank, scale * rank, float(dropout), tuple(sorted(paths)))
    shapes = lora_shapes(gemma_template, adapter)
    return adapter, {"gemma": gemma_names.adapter_from_official(weights, shapes)}


def lora_shapes(gemma_template: Tree, adapter: LoraConfig) -> dict[str, Any]:
    """Names and shapes of an adapter's arrays."""
    return jax.eval_shape(lambda: lora.init(jax.random.key(0), gemma_template, adapter))


def _plain(name: str) -> str:
    """Removes the adapter's own name, which PEFT adds in memory and some tools leave in files."""
    return re.sub(r"\.lora_([AB])\.default\.weight$", r".lora_\1.weight", name)
