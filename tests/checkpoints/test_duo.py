"""DUO's hub folder: the oracle's weights in the published layout, and the tokens of a small GPT-2."""

import json

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers

from audit_cli.checkpoints import CheckpointError, load_model
from audit_cli.diffusion.denoiser import predict
from audit_cli.records import Candidate
from tests.checkpoints.folders import dit_config, dit_tensors, random_dit, write_folder
from tests.oracles import DUO, TIMES, duo_denoiser, duo_numbers

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
GPT2 = {piece: i for i, piece in enumerate([*ALPHABET, "Ġt", "he", "Ġthe", "<|endoftext|>"])}
MERGES = "#version: 0.2\nĠ t\nh e\nĠt he\n"


def published(network, **more):
    return dit_config(network, architectures=["DUO"], model_type="DUO", causal=False, var_min=True, **more)


@pytest.fixture
def folder(tmp_path):
    """V is one more than GPT-2's: the padding that training appended."""
    network = random_dit(len(GPT2) + 1, 12)
    write_folder(tmp_path / "duo", published(network), dit_tensors(network))
    (tmp_path / "duo" / "vocab.json").write_text(json.dumps(GPT2))
    (tmp_path / "duo" / "merges.txt").write_text(MERGES)
    return tmp_path / "duo"


@pytest.mark.parametrize("which", ["raw", "ema"])
def test_the_oracle_in_a_hub_folder_agrees(tmp_path, which):
    network, numbers = duo_denoiser(which).network, duo_numbers(which)
    folder = write_folder(tmp_path, published(network), dit_tensors(network))
    model = load_model(folder, tokenizer=DUO / "tokenizer")
    assert model.info.vocab_size == model.tokenizer.size == 57
    for i, time in enumerate(TIMES):
        noisy = torch.from_numpy(numbers[f"{i}/xt"])
        t = torch.full((len(noisy),), time, dtype=torch.float64)
        hidden = model.denoiser.hidden(noisy, t).flatten(0, 1)
        log_p = model.denoiser.head.logits(hidden).log_softmax(1).view(*noisy.shape, -1)
        np.testing.assert_allclose(log_p.numpy(), numbers[f"{i}/log_p"], atol=1e-4, rtol=0)
        entropy = predict(model.denoiser, noisy, t).entropy.view(noisy.shape)
        np.testing.assert_allclose(entropy.numpy(), numbers[f"{i}/entropy"], atol=1e-4, rtol=0)


def test_the_padding_that_training_appended_is_the_last_token(folder):
    model = load_model(folder)
    assert model.tokenizer.size == model.info.vocab_size == len(GPT2) + 1
    assert model.tokenizer.id_of("[PAD]") == len(GPT2)
    text = "the [PAD] thé <|endoftext|>"
    ids = model.tokenizer.encode(text)
    assert model.tokenizer.decode(ids) == text
    assert not {GPT2["<|endoftext|>"], len(GPT2)} & set(ids)
    assert GPT2["Ġthe"] in model.tokenizer.encode("in the")


def test_a_tokenizer_json_is_preferred_and_the_same(folder):
    by_files = load_model(folder)
    (folder / "tokenizer.json").write_text(by_files.tokenizer.to_json())
    by_json = load_model(folder)
    assert (by_files.info.tokenizer, by_json.info.tokenizer) == ("vocab.json", "tokenizer.json")
    assert by_files.info.tokenizer_sha256 == by_json.info.tokenizer_sha256


def test_rows_keep_their_natural_length_between_two_separators(folder):
    model = load_model(folder)
    (row,) = model.rows(Candidate("f", 1, "f:1", "the cat"))
    end = model.tokenizer.id_of("<|endoftext|>")
    assert row.own == model.tokenizer.encode("the cat")
    assert row.tokens == (end, *row.own, end)
    rows = "packed, text between two <|endoftext|>"
    assert (model.info.family, model.info.weights, model.info.rows) == ("duo", "published", rows)


@pytest.mark.parametrize("name", ["duo-distilled", "IDLM-duo"])
def test_a_student_is_marked(folder, name):
    assert load_model(folder.rename(folder.with_name(name))).info.family == "duo (distilled)"


def test_a_student_is_marked_by_its_configuration_but_not_by_a_folder_above(folder):
    above = folder.with_name("distilled")
    above.mkdir()
    folder = folder.rename(above / "duo")
    assert load_model(folder).info.family == "duo"
    config = json.loads((folder / "config.json").read_text()) | {"_name_or_path": "s-sahoo/duo-distilled"}
    (folder / "config.json").write_text(json.dumps(config))
    assert load_model(folder).info.family == "duo (distilled)"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("vocab.json", "{}", "the tokenizer has .* tokens and the network 261|not a vocabulary"),
        ("vocab.json", "[", "not a vocabulary"),
        ("merges.txt", "#version: 0.2\nno such\n", "not a vocabulary"),
        ("vocab.json", json.dumps({**GPT2, "more": 260, "most": 261}), "tokenizer has 262 tokens and the network 261"),
    ],
)
def test_a_damaged_vocabulary_is_one_sentence(folder, file, content, message):
    (folder / file).write_text(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


def test_merges_must_be_there(folder):
    (folder / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"merges\.txt: no such file"):
        load_model(folder, tokenizer=folder / "vocab.json")
    with pytest.raises(CheckpointError, match="no tokenizer in it"):
        load_model(folder, tokenizer=folder)
    with pytest.raises(CheckpointError, match="no such tokenizer file or folder"):
        load_model(folder, tokenizer=folder / "nothing.json")


def test_an_autoregressive_twin_is_refused(folder):
    config = json.loads((folder / "config.json").read_text()) | {"causal": True}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="causal is set"):
        load_model(folder)


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_there_is_one_set_of_weights(folder, weights):
    with pytest.raises(CheckpointError, match=f"there are no {weights} weights, only one set \\(published\\)"):
        load_model(folder, weights)
