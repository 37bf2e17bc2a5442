"""The linear layer of the networks."""

from torch import Tensor, nn
from uddm_kernels import linear


class Dense(nn.Linear):
    """`nn.Linear` whose inference takes the faster of torch's two CPU libraries."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)
