"""Weights of the language model stored as int8, with one float32 scale for each output.

Scales are buffers of their own dtype: a model that computes in bfloat16 keeps them in float32.
"""

import torch
from torch import nn
from torch.nn import functional

INT8_PER_CHANNEL = "int8_per_channel"


class QuantizedLinear(nn.Module):
    """`x @ (weight * scale).T`, computed in the dtype of `x`; zeros until weights are loaded."""

    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(width_out, width_in, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(width_out, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps the last axis."""
        return functional.linear(x, (self.weight * self.scale.float().unsqueeze(1)).to(x.dtype))


class QuantizedEmbedding(nn.Module):
    """The table that embeds ids, each row with a scale of its own, and scores them as `QuantizedHead`."""

    def __init__(self, vocab_size: int, width: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(vocab_size, width, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(vocab_size, dtype=torch.float32))
        self.embed_scale, self.dtype = width**0.5, torch.get_default_dtype()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Looks ids up, scaled as Gemma's embeddings are."""
        rows = (self.weight[input_ids] * self.scale[input_ids].float().unsqueeze(-1)).to(self.dtype)
        return rows * torch.tensor(self.embed_scale, dtype=rows.dtype)


class QuantizedHead(nn.Module):
    """Scores of every token: the table's rows again."""

    def __init__(self, table: QuantizedEmbedding):
        super().__init__()
        self._tables = [table]  # In a list it is no part of this module.

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Products with every row."""
        (table,) = self._tables
        return functional.linear(x, table.weight.to(x.dtype)) * table.scale.to(x.dtype)


def quantize_language_model(model: nn.Module, kind: str) -> None:
    """Replaces the linear maps of Gemma's layers, its table and its head; all else stays as it is."""
    if kind != INT8_PER_CHANNEL:
        raise ValueError(f"weight_quantization is '{kind}', but only '{INT8_PER_CHANNEL}' is known.")
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(part, name, QuantizedLinear(child.in_features, child.out_features))
    table = model.model.embed_tokens
    model.model.embed_tokens = QuantizedEmbedding(table.num_embeddings, table.embedding_dim)
    model.lm_head = QuantizedHead(model.model.embed_tokens)
