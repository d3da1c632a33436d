"""Linear maps whose weights are stored as int8 with one float32 scale for each output."""

import torch
from torch import nn
from torch.nn import functional

INT8_PER_CHANNEL = "int8_per_channel"


class QuantizedLinear(nn.Module):
    """`x @ (weight * scale).T + bias`; the product is computed in the dtype of `x`."""

    def __init__(self, width_in: int, width_out: int, bias: bool):
        """Holds zeros until weights are loaded."""
        super().__init__()
        self.register_buffer("weight", torch.zeros(width_out, width_in, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(width_out, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(width_out)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps the last axis."""
        weight = (self.weight.to(torch.float32) * self.scale.float().unsqueeze(1)).to(x.dtype)
        return functional.linear(x, weight, self.bias)


def quantize_linears(model: nn.Module, kind: str) -> None:
    """Replaces the linear maps of Gemma's layers; tables, norms, towers and token mining stay as they are."""
    if kind != INT8_PER_CHANNEL:
        raise ValueError(f"weight_quantization is '{kind}', but only '{INT8_PER_CHANNEL}' is known.")
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, nn.Linear):
                    setattr(
                        part, name, QuantizedLinear(linear.in_features, linear.out_features, linear.bias is not None)
                    )
