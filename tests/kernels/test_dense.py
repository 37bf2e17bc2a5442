"""`linear`: one product, two libraries."""

import pytest
import torch
from uddm_kernels import dense, linear

SIZES = [(3, 5), (64, 192), (96, 73), (256, 1024), (40, 4099)]


@pytest.mark.parametrize(("width", "out"), SIZES)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("shape", [(0,), (1,), (17,), (2, 16)])
def test_it_is_the_float64_product(shape, width, out, with_bias):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape, width), torch.randn(out, width)
    bias = torch.randn(out) if with_bias else None
    exact = torch.nn.functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
    result = linear(x, weight, bias)
    assert result.shape == exact.shape
    assert result.dtype == torch.float32
    # A float32 sum of n products errs by less than n + 1 roundings of the sum of their sizes.
    size = torch.nn.functional.linear(x.double().abs(), weight.double().abs()) + 1
    assert (result.double() - exact).abs().le((width + 2) * 2.0**-24 * (size + exact.abs())).all()


@pytest.mark.parametrize(("width", "out"), SIZES)
@pytest.mark.parametrize("gelu", [False, True])
def test_a_row_does_not_depend_on_those_beside_it(width, out, gelu):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(256, width), torch.randn(out, width), torch.randn(out)
    together = linear(x, weight, bias, gelu)
    for rows in (16, 32, 48, 80, 128):
        for start in (0, 16, 64):
            assert torch.equal(linear(x[start : start + rows], weight, bias, gelu), together[start : start + rows])


@pytest.mark.parametrize("with_bias", [False, True])
def test_its_gelu_is_no_worse_than_torchs(with_bias):
    x = torch.linspace(-12, 12, 100_001)[:, None]
    weight, bias = torch.ones(1, 1), torch.full((1,), 0.25) if with_bias else None
    product = linear(x, weight, bias)
    exact = torch.nn.functional.gelu(product.double(), approximate="tanh")
    torchs = torch.nn.functional.gelu(product, approximate="tanh")
    # 2**-21: a rounding of values up to 12.
    allowed = float((torchs.double() - exact).abs().max()) + 2.0**-21
    assert float((linear(x, weight, bias, gelu=True).double() - exact).abs().max()) <= allowed


def test_gradients_pass_through():
    x = torch.randn(4, 3, requires_grad=True)
    weight = torch.randn(5, 3, requires_grad=True)
    linear(x, weight).sum().backward()
    assert torch.allclose(x.grad, weight.detach().sum(0).expand(4, 3))
    assert torch.allclose(weight.grad, x.detach().sum(0).expand(5, 3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_left_to_torch(dtype):
    x, weight = torch.randn(16, 8, dtype=dtype), torch.randn(4, 8, dtype=dtype)
    assert torch.equal(linear(x, weight), torch.nn.functional.linear(x, weight))


def test_without_onednn_it_is_torchs(monkeypatch):
    monkeypatch.setattr(dense, "_HAS_ONEDNN", False)
    x, weight = torch.randn(16, 8), torch.randn(4, 8)
    product = torch.nn.functional.linear(x, weight)
    assert torch.equal(linear(x, weight), product)
    assert torch.equal(linear(x, weight, gelu=True), torch.nn.functional.gelu(product, approximate="tanh"))
