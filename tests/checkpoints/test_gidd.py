"""GIDD's hub folder, held against numbers computed with GIDD's own code; and weights in shards."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from uddm_kernels.uniform_step.reference import posterior

from audit_cli.checkpoints import CheckpointError, load_model
from audit_cli.checkpoints.gidd import MASK_ID, GiddDenoiser
from audit_cli.diffusion.corruption import noise_starts
from audit_cli.diffusion.denoiser import predict
from audit_cli.diffusion.samplers import Ancestral
from audit_cli.diffusion.schedules import LogSnrCosine
from audit_cli.models import gidd as network_module
from audit_cli.models.gidd import Gidd, GiddConfig
from tests.checkpoints.folders import ORACLES, oracle, write_folder, write_index

NUMBERS = np.load(ORACLES / "gidd" / "reference.npz")


@pytest.fixture(scope="module")
def published():
    return load_model(ORACLES / "gidd")


@pytest.fixture
def shards(tmp_path):
    return write_folder(tmp_path / "gidd", *oracle("gidd"), shards=3)


def test_logits_and_entropies_agree(published):
    net, noisy = published.denoiser, torch.from_numpy(NUMBERS["x_t"])
    theirs = torch.from_numpy(NUMBERS["logits"]).flatten(0, 1)
    t = torch.full((len(noisy),), 0.5, dtype=torch.float64)
    ours = net.head.logits(net.hidden(noisy, t).flatten(0, 1))
    assert bool((ours[:, MASK_ID] == -torch.inf).all())
    others = torch.arange(theirs.shape[1]) != MASK_ID
    np.testing.assert_allclose(ours[:, others].numpy(), theirs[:, others].numpy(), atol=1e-4, rtol=0)
    log_p, their_log_p = ours[:, others].log_softmax(1), theirs[:, others].log_softmax(1)
    np.testing.assert_allclose(log_p.numpy(), their_log_p.numpy(), atol=1e-4, rtol=0)
    entropy = predict(net, noisy, t).entropy.view(noisy.shape)
    np.testing.assert_allclose(entropy.numpy(), NUMBERS["entropy_without_mask_token"], atol=1e-4, rtol=0)


def test_it_is_told_nothing_of_time(published):
    noisy = torch.from_numpy(NUMBERS["x_t"])
    early, late = (published.denoiser.hidden(noisy, torch.full((4,), t, dtype=torch.float64)) for t in (0.1, 0.9))
    assert torch.equal(early, late)


def test_the_mask_is_neither_noise_nor_written(published):
    net = published.denoiser
    assert net.noise_tokens.tolist() == [i for i in range(59) if i != MASK_ID]
    starts = noise_starts(net, 40, 16, seed=0)
    ends = Ancestral(8).run(net, starts, 40).tokens
    assert not bool((starts.tokens == MASK_ID).any() or (ends == MASK_ID).any())


def test_the_schedule_is_the_samplers_of_the_published_code():
    # alpha_t = (alpha_max - alpha_min)(0.5 + 0.5 cos(pi t)) + alpha_min, between sigmoid(9) and sigmoid(-9).
    schedule, t = LogSnrCosine(), torch.linspace(0, 1, 129, dtype=torch.float64)
    low, high = torch.sigmoid(torch.tensor([-9.0, 9.0], dtype=torch.float64))
    torch.testing.assert_close(schedule.alpha(t), (high - low) * (0.5 + 0.5 * torch.cos(t * torch.pi)) + low)
    log_snr = torch.logit(schedule.alpha(t))
    assert float(log_snr[0]) == pytest.approx(9)
    assert float(log_snr[-1]) == pytest.approx(-9)


@given(st.integers(0, 10**6), st.floats(0.05, 1), st.floats(0, 0.9))
def test_its_own_posterior_is_that_of_uniform_noise_without_the_mask(seed, t, share):
    # gidd-easydel `_sample_ancestral`: q_s (a_t/a_s 1[v = z] + [b_t pi - a_t/a_s b_s pi][z]) / q_t[z].
    vocab, rows = 7, 5
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(rows, vocab, generator=generator, dtype=torch.float64)
    x[:, MASK_ID] = 0
    x /= x.sum(1, keepdim=True)
    others = torch.arange(vocab) != MASK_ID
    z = torch.arange(vocab)[others][torch.randint(0, vocab - 1, (rows,), generator=generator)]
    schedule = LogSnrCosine()
    a_t, a_s = (schedule.alpha(torch.full((rows,), time, dtype=torch.float64)) for time in (t, share * t))
    pi = others.double() / (vocab - 1)
    ratio, (b_t, b_s) = a_t / a_s, (1 - a_t, 1 - a_s)
    q_t, q_s = (a[:, None] * x + b[:, None] * pi for a, b in ((a_t, b_t), (a_s, b_s)))
    here = torch.nn.functional.one_hot(z, vocab).double()
    stay = ratio[:, None] * here + ((b_t - ratio * b_s) * pi[z])[:, None]
    theirs = q_s * stay / q_t.gather(1, z[:, None])
    ours = posterior(x[:, others], z - (z > MASK_ID).long(), a_t, a_s)
    torch.testing.assert_close(ours, theirs[:, others], rtol=1e-9, atol=1e-12)


def random_gidd(at_once=1 << 24):
    torch.manual_seed(0)
    network = Gidd(GiddConfig(31, 64, 32, 2, 4, 128, residual_scale=0.7))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return GiddDenoiser(network, LogSnrCosine())


@pytest.mark.parametrize("at_once", [1 << 24, 1 << 12], ids=["whole attention", "attention in pieces"])
@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 64), rows=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_a_row_does_not_depend_on_the_rows_beside_it(at_once, length, rows, seed):
    net = random_gidd()
    tokens = torch.randint(0, 31, (rows, length), generator=torch.Generator().manual_seed(seed))
    t = torch.full((rows,), 0.5, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_module, "SCORES_AT_ONCE", at_once)
        together = net.hidden(tokens, t)
        pick = rows // 2
        assert torch.equal(net.hidden(tokens[pick : pick + 1], t[pick : pick + 1])[0], together[pick])


def test_attention_in_pieces_is_attention(monkeypatch):
    net = random_gidd()
    tokens, t = torch.randint(0, 31, (5, 64)), torch.full((5,), 0.5, dtype=torch.float64)
    whole = net.hidden(tokens, t)
    monkeypatch.setattr(network_module, "SCORES_AT_ONCE", 1)
    torch.testing.assert_close(net.hidden(tokens, t), whole, rtol=1e-5, atol=1e-5)


def test_shards_are_one_model(published, shards):
    assert load_model(shards).info.weights_sha256 == published.info.weights_sha256
    assert published.info.weights == "published"
    assert published.info.schedule == "log-snr-cosine"


FIRST, SECOND, THIRD = (f"model-{k:05d}-of-00003.safetensors" for k in (1, 2, 3))


def test_a_missing_shard_is_named(shards):
    (shards / SECOND).unlink()
    one_sentence(shards, f"shard '{SECOND}' is missing")


def test_a_stray_shard_is_named(shards):
    (shards / "model-00004-of-00003.safetensors").write_bytes((shards / FIRST).read_bytes())
    one_sentence(shards, "'model-00004-of-00003.safetensors' is no shard of model.safetensors.index.json")


def test_a_shard_without_its_tensors_is_named(shards):
    tensors = load_file(shards / THIRD)
    gone = min(tensors)
    del tensors[gone]
    save_file(tensors, shards / THIRD)
    one_sentence(shards, f"{THIRD}: tensor '{gone}' is missing")


def test_a_shard_with_more_tensors_is_named(shards):
    save_file(load_file(shards / THIRD) | {"\x1b[31m": torch.zeros(1)}, shards / THIRD)
    one_sentence(shards, rf"{THIRD}: tensor '\\x1b\[31m' does not belong")


@pytest.mark.parametrize("damage", [b"", b"12345678", (10**12).to_bytes(8, "little") + b"{}"])
def test_a_damaged_shard_is_named(shards, damage):
    (shards / SECOND).write_bytes(damage)
    one_sentence(shards, f"{SECOND}: damaged or not a safetensors file")


def test_an_index_leads_nowhere_else(shards, tmp_path):
    weight_map = json.loads((shards / "model.safetensors.index.json").read_text())["weight_map"]
    outside = tmp_path / "outside.safetensors"
    (shards / FIRST).rename(outside)
    for name in ("../outside.safetensors", str(outside), "..\\outside.safetensors", "..", "", "a\0.safetensors", 3):
        write_index(shards, {k: name if v == FIRST else v for k, v in weight_map.items()})
        one_sentence(shards, "is no name of a safetensors file beside it")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_a_damaged_index_is_refused(shards, content):
    (shards / "model.safetensors.index.json").write_text(content)
    one_sentence(shards, r"model\.safetensors\.index\.json")


ALTERED = {
    "hybrid": ({"noise_type": 0.0}, "GIDD with noise_type 0.0 is a hybrid"),
    "hybrid at the end": ({"noise_type": 12.0}, "is a hybrid"),
    "masked": ({"noise_type": -1000.0}, "is a masked diffusion model"),
    "no noise": ({"noise_type": None}, "noise_type must be a number, not None"),
    "no range": ({"min_log_snr": 9.0}, "min_log_snr < max_log_snr"),
    "causal": ({"is_causal": True}, "is_causal is True"),
    "tied": ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
    "scaled": ({"weight_scaling": "fan_in"}, "weight_scaling is 'fan_in'"),
    "other heads": ({"head_dim": 16}, "head_dim is 16"),
    "odd heads": ({"num_attention_heads": 5, "head_dim": None}, "width 32 is not a multiple of twice the 5 heads"),
    "more layers": ({"num_hidden_layers": 19}, "'model.layers.10.attn_layernorm.weight' is missing"),
    "other width": ({"intermediate_size": 64}, r"shape \(128, 32\), and the configuration says \(64, 32\)"),
    "other vocabulary": ({"vocab_size": 131072}, r"shape \(59, 32\), and the configuration says \(131072, 32\)"),
    "no words": ({"vocab_size": 4}, "vocab_size must be more than 4"),
    "no cap": ({"attn_soft_cap": 0.0}, "must be positive"),
    "not a number": ({"rope_theta": float("nan")}, "rope_theta must be a number, not nan"),
    "escape codes": ({"resid_scale": "\x1b[31m"}, r"resid_scale must be a number, not '\\x1b\[31m'"),
}


@pytest.mark.parametrize(("changes", "message"), ALTERED.values(), ids=ALTERED)
def test_a_wrong_configuration_is_one_sentence(tmp_path, changes, message):
    config, tensors = oracle("gidd")
    one_sentence(write_folder(tmp_path, config | changes, tensors), message)


def one_sentence(folder, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(folder)
    told = str(caught.value)
    assert str(folder) in told
    assert told.isprintable()


def test_a_head_may_be_padded_but_a_tokenizer_may_not_have_more(published, tmp_path, shards):
    vocabulary = ["[PAD]", "[UNK]", *(f"w{i}" for i in range(100))]
    given = tmp_path / "vocab.txt"
    given.write_text("\n".join(vocabulary[:50]))
    loaded = load_model(shards, tokenizer=given)
    assert loaded.tokenizer.piece(58) == "<58>"
    assert loaded.denoiser.noise_tokens.shape == (58,)
    given.write_text("\n".join(vocabulary[:60]))
    with pytest.raises(CheckpointError, match="60 tokens and the network 59: they do not belong together"):
        load_model(shards, tokenizer=given)
