"""Sumi's network, held against a second implementation."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.checkpoints.sumi import SumiDenoiser
from audit_cli.diffusion.schedules import ClippedLinear
from audit_cli.models import sumi as network_module
from audit_cli.models.attention import and_one_of_a_block, attend, block_of_one
from audit_cli.models.sumi import Sumi, SumiConfig
from tests.models.plain_sumi import plain_logits, published_config, random_tensors, softmax_one

SHAPES = {
    "two heads a group": {},
    "one group": {"num_key_value_heads": 1},
    "a group a head": {"num_key_value_heads": 4},
    "heads wider than the width": {"head_dim": 16},
    "heads narrower than the width": {"head_dim": 4, "num_key_value_heads": 1, "num_hidden_layers": 3},
}


def network_of(config, tensors):
    network = Sumi(
        SumiConfig(
            config["vocab_size"],
            config["max_position_embeddings"],
            config["hidden_size"],
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["num_key_value_heads"],
            config["head_dim"],
            config["intermediate_size"],
        )
    )
    network.load_state_dict(tensors)
    return network


def denoiser_of(**changes):
    config = published_config(**changes)
    return SumiDenoiser(network_of(config, random_tensors(config)), ClippedLinear())


def times(rows):
    return torch.full((rows,), 0.5, dtype=torch.float64)


@pytest.mark.parametrize("length", [5, 16, 33])
@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_logits_are_those_of_the_second_implementation(changes, length):
    config = published_config(**changes)
    tensors = random_tensors(config)
    net = SumiDenoiser(network_of(config, tensors), ClippedLinear())
    tokens = torch.randint(0, 40, (3, length), generator=torch.Generator().manual_seed(length))
    theirs = plain_logits(config, tensors, tokens)
    ours = net.head.logits(net.hidden(tokens, times(3)).flatten(0, 1)).view(theirs.shape).double()
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5
    with torch.inference_mode():
        bare = net.network.head(net.network(tokens)).double()
    assert float((bare - theirs).abs().max() / theirs.abs().max()) < 1e-5


@pytest.mark.parametrize("at_once", [1 << 24, 1 << 12], ids=["whole attention", "attention in pieces"])
@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
@settings(max_examples=10, deadline=None)
@given(length=st.integers(1, 64), rows=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_a_row_does_not_depend_on_the_rows_beside_it(changes, at_once, length, rows, seed):
    net = denoiser_of(**changes)
    tokens = torch.randint(0, 40, (rows, length), generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_module, "SCORES_AT_ONCE", at_once)
        together = net.hidden(tokens, times(rows))
        pick = rows // 2
        assert torch.equal(net.hidden(tokens[pick : pick + 1], times(1))[0], together[pick])


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_attention_in_pieces_is_attention(changes, monkeypatch):
    net, tokens = denoiser_of(**changes), torch.randint(0, 40, (5, 64))
    whole = net.hidden(tokens, times(5))
    monkeypatch.setattr(network_module, "SCORES_AT_ONCE", 1)
    torch.testing.assert_close(net.hidden(tokens, times(5)), whole, rtol=1e-5, atol=1e-5)


def test_what_is_behind_the_mask_is_never_seen():
    network = denoiser_of().network
    tokens = torch.randint(0, 40, (4, 32), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[:, 21:] = 39 - other[:, 21:]
    mask = torch.arange(32)[None] < 21
    with torch.inference_mode():
        padded = network(tokens, mask)[:, :21]
        assert torch.equal(padded, network(other, mask)[:, :21])
        assert not torch.allclose(padded, network(tokens)[:, :21])
        torch.testing.assert_close(padded, network(tokens[:, :21]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e3, -1e3])
def test_extreme_scores_leave_it_finite(scale):
    config = published_config()
    tensors = random_tensors(config)
    loud = {name: w * scale if "q_proj" in name else w for name, w in tensors.items()}
    net = SumiDenoiser(network_of(config, loud), ClippedLinear())
    assert bool(torch.isfinite(net.hidden(torch.randint(0, 40, (2, 33)), times(2))).all())


@pytest.mark.parametrize("level", [0.0, 30.0, -30.0, 1e4, -1e4])
def test_the_sink_takes_what_a_zero_score_takes(level):
    # Keys that are one and the same direction give every query scores about `level`.
    generator = torch.Generator().manual_seed(1)
    q, noise, v = (torch.randn(2, 3, 16, 8, generator=generator) for _ in range(3))
    q[..., 0] = 1
    k = noise * 0.1
    k[..., 0] = level * 8**0.5
    sink = block_of_one(torch.zeros(3, 8), 2)
    real = and_one_of_a_block(torch.ones(16, dtype=torch.bool))
    ours = attend(q, torch.cat([k, sink], 2), torch.cat([v, sink], 2), real, 1 << 24)
    scores = (q.double() @ k.double().transpose(2, 3)) / 8**0.5
    torch.testing.assert_close(ours.double(), softmax_one(scores) @ v.double(), rtol=1e-3, atol=2e-3)
    if level < -100:
        assert not bool(ours.any())


def test_it_is_told_nothing_of_time_and_positions_matter():
    net, tokens = denoiser_of(), torch.arange(16)[None]
    early, late = (net.hidden(tokens, torch.tensor([t], dtype=torch.float64)) for t in (0.1, 0.9))
    assert torch.equal(early, late)
    assert not torch.allclose(net.hidden(tokens.flip(1), times(1)).flip(1), early)


def test_it_has_the_published_sizes():
    # 36 layers, V = 100278: 2 V d + d + layers (2 d + 2 d (32 + 8) 128 + 3 · 12288 d), d = 4096.
    with torch.device("meta"):
        network = Sumi(SumiConfig(100278, 2048, 4096, 36, 32, 8, 128, 12288))
    layer = 2 * 4096 + 2 * 4096 * 40 * 128 + 3 * 12288 * 4096
    assert sum(p.numel() for p in network.parameters()) == 2 * 100278 * 4096 + 4096 + 36 * layer


GOOD = SumiConfig(40, 64, 32, 2, 4, 2, 8, 48)
IMPOSSIBLE = {
    "groups": ({"kv_heads": 3}, "4 heads are not a multiple of 3"),
    "odd heads": ({"head_width": 7}, "width 7 have no two halves"),
    "no heads": ({"head_width": 0}, "width 0 have no two halves"),
    "no layers": ({"layers": 0}, "at least 1"),
    "no base": ({"rotary_base": 0.0}, "must be positive"),
    "no epsilon": ({"norm_eps": -1e-5}, "must be positive"),
}


@pytest.mark.parametrize(("changes", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(GOOD, **changes)
