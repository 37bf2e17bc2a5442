import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import LogLinear
from audit_cli.models import time_features
from audit_cli.models.additive import AdditiveConfig, AdditiveTransformer, TimelessConfig
from audit_cli.models.dit import DiT, DiTConfig


def randomised(network):
    # Fresh heads and modulations are zero, which would make every statement true.
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return NetworkDenoiser(network, LogLinear(), Law.LEAVE_ONE_OUT)


NETWORKS = {
    "additive": randomised(AdditiveTransformer(AdditiveConfig(11, 24, 32, 2, 4))),
    "timeless": randomised(AdditiveTransformer(TimelessConfig(11, 24, 32, 2, 4))),
    "dit": randomised(DiT(DiTConfig(11, 24, 32, 2, 4, condition_width=16))),
}


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 24), st.integers(1, 200), st.integers(0, 10**6))
def test_a_row_does_not_depend_on_the_rows_beside_it(name, length, rows, seed):
    net = NETWORKS[name]
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 11, (rows, length), generator=generator)
    t = torch.rand(rows, generator=generator, dtype=torch.float64)
    together = net.hidden(tokens, t)
    pick = rows // 2
    alone = net.hidden(tokens[pick : pick + 1], t[pick : pick + 1])
    assert torch.equal(alone[0], together[pick])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("masked", [None, 1, 37])
@torch.inference_mode()
def test_rows_in_pieces_are_the_rows_together(name, masked, monkeypatch):
    network = NETWORKS[name].network
    tokens = torch.randint(0, 11, (37, 16), generator=torch.Generator().manual_seed(0))
    noise = torch.linspace(0.1, 0.9, 37)
    real = 1 + torch.arange(37)[:, None] % 16
    mask = None if masked is None else torch.arange(16) < real[-masked:]
    together = network(tokens, noise, mask)
    for positions in (1, 100):
        monkeypatch.setattr(time_features, "POSITIONS_A_THREAD", positions)
        assert torch.equal(network(tokens, noise, mask), together)


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_behind_a_mask_is_as_if_it_were_not_there(name):
    network = NETWORKS[name].network
    tokens = torch.randint(0, 11, (4, 20), generator=torch.Generator().manual_seed(0))
    noise = torch.tensor([0.1, 0.3, 0.5, 0.9])
    mask = torch.arange(20).expand(4, 20) < 13
    padded = network(tokens, noise, mask)[:, :13]
    torch.testing.assert_close(padded, network(tokens[:, :13], noise), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_noise_and_position_matter_and_noise_not_where_there_is_no_time(name):
    net = NETWORKS[name]
    tokens = torch.full((2, 8), 3)
    hidden = net.hidden(tokens, torch.tensor([0.1, 0.9], dtype=torch.float64))
    assert torch.allclose(hidden[0], hidden[1]) == (name == "timeless")
    forth, back = torch.arange(8)[None], torch.arange(7, -1, -1)[None]
    t = torch.tensor([0.1], dtype=torch.float64)
    assert not torch.allclose(net.hidden(forth, t), net.hidden(back, t).flip(1))


def test_the_dit_has_the_papers_sizes():
    # Counted in the published table: 23.7, 139.3 and 384.0 million parameters at V = 30522.
    for width, layers, heads, millions in ((256, 8, 8, 23.7), (768, 12, 12, 139.3), (1024, 24, 16, 384.0)):
        with torch.device("meta"):
            network = DiT(DiTConfig(30522, 128, width, layers, heads))
        assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions


def test_heads_must_divide_the_width():
    for config in (AdditiveConfig, DiTConfig):
        with pytest.raises(ValueError, match="heads"):
            config(11, 24, width=30, heads=4)
