"""The linear layer of the networks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from uddm_kernels import linear


class Dense(nn.Linear):
    """`nn.Linear` whose inference takes the faster of torch's two CPU libraries.

    Its weight may be of 16 bits while everything around it is float32: then only the product is rounded. With `gelu`
    it ends in GELU by tanh, which is nearly free there.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, gelu: bool = False) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dtype == x.dtype:
            return linear(x, self.weight, self.bias, self.gelu)
        out = linear(x.to(self.weight.dtype), self.weight).to(x.dtype)
        if self.bias is not None:
            out = out + self.bias
        return F.gelu(out, approximate="tanh") if self.gelu else out


def matrices(network: nn.Module) -> set[str]:
    """The names of a network's matrices, which may be of 16 bits: nearly all of its memory and time."""
    return {
        f"{where}.{name}" if where else name
        for where, module in network.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 2 and name in ("weight", "embedding")
    }


def types(network: nn.Module, dtype: torch.dtype | None) -> dict[str, torch.dtype] | None:
    """The type of each of the network's parameters where its matrices are of `dtype`; None as they come."""
    if dtype is None:
        return None
    narrow = matrices(network)
    return {name: dtype if name in narrow else torch.float32 for name in network.state_dict()}
