"""Sumi's hub folder, held against a second implementation of its network."""

import pytest
import torch

from audit_cli.checkpoints import CheckpointError, UnauditableModel, load_model
from audit_cli.diffusion.denoiser import Law, predict
from audit_cli.diffusion.schedules import ClippedLinear
from audit_cli.records import Candidate
from tests.checkpoints.folders import WORDPIECES, write_folder
from tests.models.plain_sumi import ROPE, plain_logits, published_config, random_tensors

BOS, EOS = 36, 37


def folder_of(path, dtype=torch.float32, shards=1, **changes):
    """A toy's folder: its weights fit the configuration before it was changed."""
    config = published_config()
    folder = write_folder(path / "sumi", config | changes, random_tensors(config, dtype), shards)
    (folder / "vocab.txt").write_text("\n".join(WORDPIECES) + "\n")
    return folder


@pytest.mark.parametrize("shards", [1, 3], ids=["one file", "shards"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_logits_and_entropies_agree(tmp_path, dtype, shards):
    net = load_model(folder_of(tmp_path, dtype, shards)).denoiser
    config = published_config()
    tokens = torch.randint(0, 40, (3, 33), generator=torch.Generator().manual_seed(0))
    t = torch.full((3,), 0.5, dtype=torch.float64)
    theirs = plain_logits(config, random_tensors(config, dtype), tokens)
    ours = net.head.logits(net.hidden(tokens, t).flatten(0, 1)).view(theirs.shape).double()
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5
    log_p = theirs.log_softmax(-1)
    entropy = predict(net, tokens, t).entropy.view(tokens.shape).double()
    torch.testing.assert_close(entropy, -(log_p.exp() * log_p).sum(-1), rtol=0, atol=1e-4)


def test_what_it_says_of_itself(tmp_path):
    loaded = load_model(folder_of(tmp_path))
    net, info = loaded.denoiser, loaded.info
    assert (info.family, info.backbone, info.weights, info.law) == ("sumi", "sumi", "published", "leave-one-out")
    assert (info.schedule, info.max_length, info.rows) == ("clipped-linear", 64, "BOS text EOS BOS")
    assert info.parameters == sum(x.numel() for x in random_tensors(published_config()).values())
    assert info.tokenizer == "vocab.txt"
    assert net.stateless
    assert net.law is Law.LEAVE_ONE_OUT
    assert net.schedule == ClippedLinear(9.0)
    assert net.noise_tokens.tolist() == list(range(40))
    with pytest.raises(ValueError, match="no prompt"):
        net.prepare(torch.tensor([1]))


def test_shards_are_one_model(tmp_path):
    one, many = (load_model(folder_of(tmp_path / str(shards), shards=shards)).info for shards in (1, 3))
    assert one.weights_sha256 == many.weights_sha256


def test_a_text_is_a_document_of_training(tmp_path):
    loaded = load_model(folder_of(tmp_path))
    (row,) = loaded.rows(Candidate("here", 1, "1", text="the cat sat"))
    words = tuple(WORDPIECES.index(word) for word in ("the", "cat", "sat"))
    assert row.tokens == (BOS, *words, EOS, BOS)
    assert row.tokens[row.start : row.stop] == words
    rows = loaded.rows(Candidate("here", 2, "2", text="cat " * 100))
    assert {len(row.tokens) for row in rows} == {64}


def test_the_canvas_bounds_a_row(tmp_path):
    long = load_model(folder_of(tmp_path / "long", max_position_embeddings=4864))
    assert long.layout.row_length == long.info.max_length == long.denoiser.max_length == 2048
    short = load_model(folder_of(tmp_path / "short", max_position_embeddings=3))
    assert (short.layout.row_length, short.layout.before, short.info.rows) == (3, (), "natural length")


@pytest.mark.parametrize("key", ["bos_token_id", "eos_token_id"])
@pytest.mark.parametrize("value", [None, -1, 40, True, 36.0, [36], "<s>"])
def test_without_delimiters_a_text_keeps_its_length(tmp_path, key, value):
    loaded = load_model(folder_of(tmp_path, **{key: value}))
    assert (loaded.layout.max_length, loaded.layout.before, loaded.layout.after) == (64, (), ())
    assert loaded.info.rows == "natural length"


SAME = {
    "base at the top": {"rope_parameters": None, "rope_theta": 500_000.0, "rope_scaling": None},
    "base twice": {"rope_theta": 500_000.0},
    "head width left out": {"head_dim": None},
    "known by its class": {"model_type": None},
    "known by its type": {"architectures": None},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_a_configuration_that_says_the_same_is_the_same_model(tmp_path, changes):
    tokens, t = torch.arange(32)[None], torch.tensor([0.5], dtype=torch.float64)
    plain, other = (
        load_model(folder_of(tmp_path / name, **more)).denoiser.hidden(tokens, t)
        for name, more in (("plain", {}), ("other", changes))
    )
    assert torch.equal(plain, other)


ALTERED = {
    "tied": ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
    "biases of attention": ({"attention_bias": True}, "attention_bias is True"),
    "biases of the MLP": ({"mlp_bias": True}, "mlp_bias is True"),
    "biases of queries": ({"add_qkv_bias": True}, "add_qkv_bias is True"),
    "other activation": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    "quantised": ({"quantization_config": {"bits": 4}}, r"quantization_config is \{'bits': 4\}"),
    "other positions": ({"rope_parameters": ROPE | {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
    "scaled positions": ({"rope_parameters": ROPE | {"factor": 2.0}}, "rope_parameters has 'factor'"),
    "rope scaling": ({"rope_scaling": {"type": "linear"}}, "rope_scaling is"),
    "two bases": ({"rope_theta": 10_000.0}, "rope_theta is 10000.0, and in rope_parameters 500000.0"),
    "no base": ({"rope_parameters": {"rope_type": "default"}}, "rope_theta must be a number, not None"),
    "no positions": ({"rope_parameters": None}, "rope_theta must be a number, not None"),
    "positions as a list": ({"rope_parameters": []}, r"rope_parameters must be an object, not \[\]"),
    "base below nothing": ({"rope_parameters": ROPE | {"rope_theta": -1.0}}, "must be positive"),
    "no epsilon": ({"rms_norm_eps": float("nan")}, "rms_norm_eps must be a number, not nan"),
    "groups": ({"num_key_value_heads": 3}, "4 heads are not a multiple of 3"),
    "no groups": ({"num_key_value_heads": None}, "num_key_value_heads must be a whole number"),
    "odd heads": ({"head_dim": 7}, "heads of width 7"),
    "more layers": ({"num_hidden_layers": 3}, r"tensor 'model\.layers\.2\.input_layernorm\.weight' is missing"),
    "fewer layers": ({"num_hidden_layers": 1}, r"tensor 'model\.layers\.1\.\S+ does not belong"),
    "other heads": ({"head_dim": 16}, "and the configuration says"),
    "other vocabulary": ({"vocab_size": 131072}, r"shape \(40, 32\), and the configuration says \(131072, 32\)"),
    "escape codes": ({"vocab_size": "\x1b[31m"}, r"vocab_size must be a whole number .*'\\x1b\[31m'"),
    "hostile": ({"rope_parameters": {"\x1b[31m": 1}}, r"rope_parameters has '\\x1b\[31m'"),
}


@pytest.mark.parametrize(("changes", "message"), ALTERED.values(), ids=ALTERED)
def test_a_wrong_configuration_is_one_sentence(tmp_path, changes, message):
    one_sentence(folder_of(tmp_path, **changes), message)


HEAD, DOWN = "lm_head.weight", "model.layers.1.mlp.down_proj.weight"
DAMAGED = {
    "a tensor is missing": (lambda t: t.pop(DOWN), r"tensor 'model\.layers\.1\.mlp\.down_proj\.weight' is missing"),
    "the head is missing": (lambda t: t.pop(HEAD), r"tensor 'lm_head\.weight' is missing"),
    "a bias too many": (
        lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.zeros(32)}),
        r"q_proj\.bias' does not belong",
    ),
    "wrong shape": (lambda t: t.update({DOWN: torch.zeros(48, 32)}), r"shape \(48, 32\), and .* says \(32, 48\)"),
    "a short head": (lambda t: t.update({HEAD: torch.zeros(39, 32)}), r"shape \(39, 32\), and .* says \(40, 32\)"),
    "quantised": (lambda t: t.update({DOWN: torch.zeros(32, 48, dtype=torch.int8)}), "quantised weights"),
    "8 bits": (lambda t: t.update({DOWN: torch.zeros(32, 48).to(torch.float8_e4m3fn)}), "quantised weights"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_wrong_tensors_are_one_sentence(tmp_path, damage, message):
    tensors = random_tensors(published_config())
    damage(tensors)
    one_sentence(write_folder(tmp_path, published_config(), tensors), message)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    tensors = random_tensors(published_config())
    tensors[DOWN][3, 4] = float("nan")
    with pytest.raises(UnauditableModel, match="holds NaN or infinity"):
        load_model(write_folder(tmp_path, published_config(), tensors))


def test_there_is_one_set_of_weights(tmp_path):
    folder = folder_of(tmp_path)
    assert load_model(folder, weights="published").info.weights == "published"
    one_sentence(folder, r"there are no ema weights, only one set \(published\)", weights="ema")


def test_a_tokenizer_may_not_have_more_than_the_head(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "vocab.txt").write_text("\n".join([*WORDPIECES, *(f"w{i}" for i in range(20))]))
    one_sentence(folder, "tokens and the network 40: they do not belong together")


def one_sentence(folder, message, **options):
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(folder, **options)
    told = str(caught.value)
    assert str(folder) in told
    assert told.isprintable()
