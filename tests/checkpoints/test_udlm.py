"""UDLM's hub folder, held against numbers computed with UDLM's own code (tests/data/oracles)."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from audit_cli.checkpoints import CheckpointError, UnauditableModel, load_model
from audit_cli.checkpoints.safetensors_files import tensors_sha256
from audit_cli.cli import app
from audit_cli.diffusion.denoiser import predict
from audit_cli.records import Candidate, Skipped
from tests.checkpoints.folders import ORACLES, WORDPIECES, dit_tensors, oracle, random_dit, udlm_folder, write_folder

NUMBERS = np.load(ORACLES / "udlm" / "reference.npz")
PAD, CLS, SEP = (WORDPIECES.index(piece) for piece in ("[PAD]", "[CLS]", "[SEP]"))


@pytest.fixture(scope="module")
def published():
    return load_model(ORACLES / "udlm")


@pytest.fixture
def folder(tmp_path):
    return udlm_folder(tmp_path / "udlm")


@pytest.mark.parametrize("i", range(5))
def test_log_probabilities_and_entropies_agree(published, i):
    net, noisy = published.denoiser, torch.from_numpy(NUMBERS["x_t"])
    theirs = torch.from_numpy(NUMBERS[f"{i}/logits"]).log_softmax(-1)
    with torch.inference_mode():
        hidden = net.network(noisy, torch.from_numpy(NUMBERS[f"{i}/sigma"]))
    logits = net.head.logits(hidden.flatten(0, 1)).view(theirs.shape)
    np.testing.assert_allclose(logits.numpy(), NUMBERS[f"{i}/logits"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(logits.log_softmax(-1).numpy(), theirs.numpy(), atol=1e-4, rtol=0)
    t = torch.full((len(noisy),), float(NUMBERS[f"{i}/t"]), dtype=torch.float64)
    ours = net.head.logits(net.hidden(noisy, t).flatten(0, 1)).view(theirs.shape).log_softmax(-1)
    # From the time: upstream's float32 sigma is off by 1.3e-5 at t = 1, where alpha is 1e-3.
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-4 if i == 4 else 1e-4, rtol=0)
    entropy = predict(net, noisy, t).entropy.view(noisy.shape)
    np.testing.assert_allclose(entropy.numpy(), NUMBERS[f"{i}/entropy"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("i", range(5))
def test_sigma_is_that_of_the_log_linear_schedule(published, i):
    sigma = -torch.log(published.denoiser.schedule.alpha(torch.tensor(float(NUMBERS[f"{i}/t"]), dtype=torch.float64)))
    # alpha is 1 minus a float32 number: half a unit in its last place is 6e-8 of 1.
    assert float(sigma) == pytest.approx(float(NUMBERS[f"{i}/sigma"][0]), abs=6e-8 / float(torch.exp(-sigma)))


def test_what_is_said_of_it(published):
    info = published.info
    assert (info.family, info.backbone, info.schedule, info.law) == ("udlm", "dit", "log-linear", "leave-one-out")
    assert (info.vocab_size, info.max_length, info.weights) == (53, 16, "ema")
    assert published.tokenizer is None
    assert info.tokenizer_sha256 is None
    assert info.parameters == sum(p.numel() for p in published.denoiser.network.parameters())
    own = {name.removeprefix("backbone."): tensor for name, tensor in oracle("udlm")[1].items()}
    del own["rotary_emb.inv_freq"]
    assert info.weights_sha256 == tensors_sha256(own)


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone.", "_orig_mod.backbone.", "backbone._orig_mod."])
def test_prefixes_of_wrappers_do_not_matter(tmp_path, prefix):
    config, tensors = oracle("udlm")
    renamed = {prefix + name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    renamed |= {"teacher.backbone.vocab_embed.embedding": torch.zeros(3), "limiting_distribution": torch.zeros(2)}
    loaded = load_model(write_folder(tmp_path, config, renamed, shards=3))
    assert loaded.info.weights_sha256 == load_model(ORACLES / "udlm").info.weights_sha256


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_becomes_float32(tmp_path, dtype, tolerance):
    config, tensors = oracle("udlm")
    loaded = load_model(write_folder(tmp_path, config, {name: t.to(dtype) for name, t in tensors.items()}))
    head, theirs = loaded.denoiser.head.weight, tensors["backbone.output_layer.linear.weight"]
    assert head.dtype == torch.float32
    torch.testing.assert_close(head.detach(), theirs, rtol=tolerance, atol=1e-7)


def test_a_text_stands_between_its_marks_and_padding(folder):
    model = load_model(folder)
    text = Candidate("f", 1, "f:1", "The cat sat on the mat")
    (row,) = model.rows(text)
    words = tuple(WORDPIECES.index(w) for w in ["the", "cat", "sat", "on", "the", "mat"])
    assert row.tokens == (CLS, *words, SEP, *(PAD,) * 8)
    assert row.own == words
    assert model.info.rows == "[CLS] text [SEP], padded"
    assert model.tokenizer.decode(words) == "the cat sat on the mat"


def test_a_long_text_has_windows_of_what_fits_between_the_marks(folder):
    model = load_model(folder)
    rows = model.rows(Candidate("f", 1, "f:1", "the cat " * 10))
    assert [(row.offset, len(row.own), len(row.tokens)) for row in rows] == [(0, 14, 16), (6, 14, 16)]
    assert {(row.tokens[0], row.tokens[-1]) for row in rows} == {(CLS, SEP)}


def test_tokens_are_taken_as_they_are(folder):
    model = load_model(folder)
    for ids in ((7, 8, 9), (CLS, *range(5, 19), SEP)):
        (row,) = model.rows(Candidate("f", 1, "f:1", token_ids=ids))
        assert (row.tokens, row.own) == (ids, ids)
    # A reference as long as a whole row has no room for marks.
    assert model.layout.place(Candidate("f", 1, "f:1", "x"), tuple(range(16))).tokens == tuple(range(16))


def test_a_word_outside_the_vocabulary_is_no_text_of_the_model(folder):
    assert isinstance(load_model(folder).rows(Candidate("f", 1, "f:1", "the zebra")), Skipped)


def test_a_tokenizer_that_is_given_takes_the_place_of_the_folders_own(folder, tmp_path):
    elsewhere = tmp_path / "bert"
    elsewhere.mkdir()
    shutil.move(folder / "vocab.txt", elsewhere / "vocab.txt")
    assert load_model(folder).tokenizer is None
    for given in (elsewhere, elsewhere / "vocab.txt"):
        loaded = load_model(folder, tokenizer=given)
        assert loaded.info.tokenizer == "vocab.txt"
        assert loaded.tokenizer.encode("The Cat") == (5, 7)
    tokenizer = load_model(folder, tokenizer=elsewhere).tokenizer
    (elsewhere / "tokenizer.json").write_text(tokenizer.to_json())
    again = load_model(folder, tokenizer=elsewhere)
    assert (again.info.tokenizer, again.info.tokenizer_sha256) == ("tokenizer.json", tokenizer.sha256())
    assert again.layout.before == (CLS,)


ALTERED = {
    "no n_heads": ({"n_heads": None}, r"n_heads must be a whole number from 1 to 1024, not None"),
    "escape codes": ({"hidden_dim": "\x1b[31m32\n"}, r"hidden_dim must be .* not '\\x1b\[31m32\\n'"),
    "true is no number": ({"n_blocks": True}, "n_blocks must be a whole number"),
    "huge": ({"vocab_size": 10**12}, "vocab_size must be a whole number"),
    "other blocks": ({"n_blocks": 12}, "n_blocks is 12, and the tensors say 1"),
    "other heads": ({"n_heads": 4}, "n_heads is 4, and the tensors say 2"),
    "other width": ({"hidden_dim": 64}, "hidden_dim is 64, and the tensors say 32"),
    "other vocabulary": ({"vocab_size": 30522}, "vocab_size is 30522, and the tensors say 25"),
    "other condition": ({"cond_dim": 128}, "cond_dim is 128, and the tensors say 16"),
    "guided": ({"cfg": True}, "conditioned on a class"),
    "no time": ({"time_conditioning": False}, "time_conditioning is off"),
}


@pytest.mark.parametrize(("changes", "message"), ALTERED.values(), ids=ALTERED)
def test_a_wrong_configuration_is_one_sentence(folder, changes, message):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    one_sentence(folder, message)


def one_sentence(folder, message, error=CheckpointError):
    with pytest.raises(error, match=message) as caught:
        load_model(folder)
    told = str(caught.value)
    assert str(folder) in told
    assert told.isprintable()


BAD_TENSORS = {
    "missing": (lambda t: t.pop("blocks.0.norm1.weight"), "'blocks.0.norm1.weight' is missing"),
    "extra": (lambda t: t.update({"cond_map.x": torch.zeros(2)}), "'cond_map.x' does not belong"),
    "no embedding": (lambda t: t.pop("vocab_embed.embedding"), "no tensor 'vocab_embed.embedding'"),
    "flat embedding": (lambda t: t.update({"vocab_embed.embedding": torch.zeros(9)}), "odd dimensions"),
    "wrong shape": (lambda t: t.update({"blocks.0.norm1.weight": torch.zeros(31)}), r"shape \(31,\), and the network"),
    "transposed": (lambda t: t.update({"blocks.0.attn_qkv.weight": torch.zeros(32, 96)}), r"shape \(32, 96\)"),
    "int8": (lambda t: t.update({"blocks.0.norm1.weight": torch.zeros(32, dtype=torch.int8)}), "type I8.*quantised"),
    "float8": (
        lambda t: t.update({"blocks.0.norm1.weight": torch.zeros(32, dtype=torch.float8_e4m3fn)}),
        "type F8_E4M3.*quantised",
    ),
    "twice": (lambda t: t.update({"module.blocks.0.norm1.weight": torch.zeros(32)}), "are the same one"),
    "other rotation": (lambda t: t.update({"rotary_emb.inv_freq": torch.ones(8)}), "rotary frequencies"),
    "escape codes": (lambda t: t.update({"\x1b[31m\n": torch.zeros(2)}), r"'\\x1b\[31m\\n' does not belong"),
    "deep block": (lambda t: t.update({"blocks.999999.norm1.weight": torch.zeros(32)}), "tensors say 1000000"),
}


@pytest.mark.parametrize(("change", "message"), BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_wrong_tensors_are_one_sentence(folder, change, message):
    tensors = dit_tensors(random_dit(len(WORDPIECES), 16), "")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    one_sentence(folder, message)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_cannot_be_audited(folder, bad):
    tensors = dit_tensors(random_dit(len(WORDPIECES), 16))
    tensors["backbone.output_layer.linear.bias"][3] = bad
    save_file(tensors, folder / "model.safetensors")
    one_sentence(folder, "holds NaN or infinity", UnauditableModel)


def test_a_tokenizer_of_another_model_is_refused(folder):
    (folder / "vocab.txt").write_text("\n".join(WORDPIECES[:-1]))
    one_sentence(folder, "tokenizer has 24 tokens and the network 25: they do not belong together")


def test_there_is_one_set_of_weights(folder):
    assert load_model(folder, "ema").info.weights == "ema"
    with pytest.raises(CheckpointError, match="there are no raw weights, only one set"):
        load_model(folder, "raw")


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    one_sentence(folder, "pickled weights can run code")


def uddm(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_inspect_says_what_the_folder_is(folder):
    done = uddm("inspect", folder)
    assert done.exit_code == 0, done.output
    for said in ("udlm, dit backbone", "25 tokens (vocab.txt)", "[CLS] text [SEP], padded", "log-linear", "law check"):
        assert said in done.stdout


def test_entropy_of_texts_and_of_tokens(folder, tmp_path):
    texts = tmp_path / "texts.jsonl"
    ids = [CLS, 5, 7, 9, SEP] + [PAD] * 11
    lines = [{"text": "the cat sat"}, {"input_ids": ids}, {"text": "the zebra"}]
    texts.write_text("\n".join(map(json.dumps, lines)))
    table = tmp_path / "out.jsonl"
    done = uddm("entropy", folder, texts, "-o", table, "-q")
    assert done.exit_code == 0, done.output
    framed, bare, outside = (json.loads(line) for line in table.read_text().splitlines())
    assert (framed["tokens"], bare["tokens"], outside["status"]) == (3, 16, "skipped")
    # The same row was measured twice: of the text its three tokens, of the tokens all sixteen.
    model = load_model(folder)
    (row,) = model.rows(Candidate("f", 1, "f:1", "the cat sat"))
    assert list(row.tokens) == ids
    stats = predict(model.denoiser, torch.tensor([ids]), torch.tensor([1e-5], dtype=torch.float64))
    assert framed["entropy_nats"] == pytest.approx(float(stats.entropy[1:4].mean()), abs=1e-5)
    assert bare["entropy_nats"] == pytest.approx(float(stats.entropy.mean()), abs=1e-5)
