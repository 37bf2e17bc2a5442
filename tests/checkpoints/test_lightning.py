"""Lightning files: the oracle's numbers, the families and their refusals, and files made to do harm."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_cli.checkpoints import CheckpointError, UnauditableModel
from audit_cli.checkpoints.bert_vocabulary import pickled_tokenizer, read_vocabulary, word_piece
from audit_cli.checkpoints.duo import DISTILLED
from audit_cli.checkpoints.inert_values import Global, Inert
from audit_cli.checkpoints.lightning import load_lightning
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.checkpoints.torch_zip import TorchZip
from audit_cli.diffusion.denoiser import predict
from audit_cli.diffusion.schedules import Cosine, LogLinear
from audit_cli.records import Candidate, Skipped
from tests.checkpoints.lightning_files import (
    ORACLE,
    checkpoint,
    configuration,
    pickle_of,
    saved,
    weights,
    with_pickle,
)
from tests.checkpoints.payloads import inert, live
from tests.oracles import DUO, TIMES, duo_numbers

CPU = torch.device("cpu")
COMMAND = "touch canary"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "on", "mat", "."]


def load(path, which=None, tokenizer=None):
    return load_lightning(path, which, CPU, tokenizer)


def same(model, expected):
    found = model.denoiser.network.state_dict()
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture(scope="module")
def oracles():
    return {which: load(ORACLE, which) for which in ("raw", "ema")}


@pytest.mark.parametrize("i", range(len(TIMES)))
@pytest.mark.parametrize("which", ["raw", "ema"])
def test_log_probabilities_and_entropies_are_the_oracles(oracles, which, i):
    net, numbers = oracles[which].denoiser, duo_numbers(which)
    noisy = torch.from_numpy(numbers[f"{i}/xt"])
    t = torch.full((len(noisy),), TIMES[i], dtype=torch.float64)
    log_p = net.head.logits(net.hidden(noisy, t).flatten(0, 1)).log_softmax(1).view(*noisy.shape, -1)
    np.testing.assert_allclose(log_p.numpy(), numbers[f"{i}/log_p"], atol=1e-4, rtol=0)
    entropy = predict(net, noisy, t).entropy.view(noisy.shape)
    np.testing.assert_allclose(entropy.numpy(), numbers[f"{i}/entropy"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(net.schedule.alpha(t).numpy(), numbers[f"{i}/alpha"].reshape(-1), atol=1e-6)


def test_the_oracle_says_what_it_is(oracles):
    raw, ema = oracles["raw"].info, oracles["ema"].info
    assert (raw.family, raw.vocab_size, raw.max_length, raw.law) == ("duo", 57, 16, "leave-one-out")
    assert (raw.weights, ema.weights, load(ORACLE).info.weights) == ("raw", "ema", "ema")
    assert raw.weights_sha256 != ema.weights_sha256
    assert raw.parameters == 40761
    assert raw.tokenizer == "in the checkpoint"
    assert oracles["raw"].denoiser.network.config.heads == 4


def test_the_pickled_tokenizer_is_the_one_of_the_vocabulary(oracles):
    given = load(ORACLE, tokenizer=DUO / "tokenizer")
    assert given.info.tokenizer == "vocab.txt"
    assert given.info.tokenizer_sha256 == oracles["raw"].info.tokenizer_sha256
    assert load(ORACLE, tokenizer=DUO / "tokenizer" / "vocab.txt").info.tokenizer_sha256 == given.info.tokenizer_sha256
    assert given.tokenizer.encode("Ab Cé") == oracles["raw"].tokenizer.encode("ab ce")


def test_neither_omegaconf_nor_lightning_nor_transformers_is_needed():
    code = (
        "import sys, torch; from pathlib import Path; from audit_cli.checkpoints.lightning import load_lightning; "
        f"load_lightning(Path({str(ORACLE)!r}), 'raw', torch.device('cpu')); "
        "found = {m.split('.')[0] for m in sys.modules}; print(found & {'omegaconf', 'lightning', 'transformers'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("prefix", ["backbone.", "", "_orig_mod.backbone.", "module.backbone._orig_mod.",
                                    "diffusion.model.backbone."])  # fmt: skip
def test_prefixes_are_taken_off(tmp_path, prefix):
    model = load(saved(tmp_path / "a.ckpt", prefix=prefix), "raw")
    assert same(model, weights(0))
    assert same(load(tmp_path / "a.ckpt"), weights(1))


def test_a_teacher_metrics_and_constants_are_left_out(tmp_path):
    content = checkpoint()
    content["state_dict"] |= {
        "teacher.backbone.vocab_embed.embedding": torch.zeros(3),
        "metrics.valid_nlls.nll.weight": torch.zeros(()),
        "limiting_distribution": torch.ones(1, 1, 12) / 12,
    }
    torch.save(content, tmp_path / "a.ckpt")
    assert same(load(tmp_path / "a.ckpt"), weights(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_become_float32(tmp_path, dtype):
    model = load(saved(tmp_path / "a.ckpt", dtype=dtype), "raw")
    assert same(model, {name: tensor.to(dtype).float() for name, tensor in weights(0).items()})


def test_only_what_is_used_is_mapped_and_checked(tmp_path, monkeypatch):
    ranges = []
    map_it = TorchZip._map
    monkeypatch.setattr(TorchZip, "_map", lambda self, first, size: ranges.append(size) or map_it(self, first, size))
    path = saved(tmp_path / "a.ckpt")
    # The moments are NaN, and 1.6 MB.
    raw, ema = load(path, "raw"), load(path, "ema")
    needed = 4 * raw.info.parameters
    headers = 128 * len(weights())
    assert all(size < needed + headers + (16 << 10) for size in ranges)
    assert same(raw, weights(0))
    assert same(ema, weights(1))


def test_without_an_average_the_raw_weights_are_the_default(tmp_path):
    content = checkpoint()
    del content["ema"]
    torch.save(content, tmp_path / "a.ckpt")
    assert load(tmp_path / "a.ckpt").info.weights == "raw"
    with pytest.raises(CheckpointError, match="no EMA weights in it; try --weights raw"):
        load(tmp_path / "a.ckpt", "ema")


def shadow(**changes):
    values = list(weights(1).values())
    match changes:
        case {"drop": n}:
            del values[n]
        case {"swap": (a, b)}:
            values[a], values[b] = values[b], values[a]
        case {"put": other}:
            values[0] = other
    return {"shadow_params": values}


@pytest.mark.parametrize(
    ("ema", "message"),
    [
        (shadow(drop=3), r"\d+ EMA weights for \d+ parameters"),
        (shadow(swap=(0, 1)), "the EMA weight in the place of 'vocab_embed.embedding' has shape"),
        (shadow(put=3), "no list of tensors"),
        ({}, "no list of tensors"),
        ([], "no list of tensors"),
    ],
)
def test_a_moving_average_that_does_not_fit_is_refused(tmp_path, ema, message):
    path = saved(tmp_path / "a.ckpt", ema=ema)
    with pytest.raises(CheckpointError, match=message):
        load(path)
    assert same(load(path, "raw"), weights(0))


def test_heads_come_from_the_frequencies_or_the_configuration(tmp_path):
    assert load(saved(tmp_path / "a.ckpt", configuration(model__n_heads=None))).denoiser.network.config.heads == 2
    assert load(saved(tmp_path / "b.ckpt", heads=None)).denoiser.network.config.heads == 2
    with pytest.raises(CheckpointError, match="how many heads"):
        load(saved(tmp_path / "c.ckpt", configuration(model__n_heads=None), heads=None))
    with pytest.raises(CheckpointError, match="n_heads is 2 in its config, and its tensors say 4"):
        load(saved(tmp_path / "d.ckpt", heads=4))


def test_other_rotary_frequencies_are_refused(tmp_path):
    content = checkpoint()
    content["state_dict"]["backbone.rotary_emb.inv_freq"] *= 2
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UnauditableModel, match="base 10,000"):
        load(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("changes", "family", "law", "schedule"),
    [
        ({}, "duo", "leave-one-out", LogLinear(1e-3)),
        ({"algo__name": "duo"}, "duo", "leave-one-out", LogLinear(1e-3)),
        ({"algo__name": "distillation", "algo__T": 64}, DISTILLED, "leave-one-out", LogLinear(1e-3)),
        ({"noise__eps": 1e-2}, "duo", "leave-one-out", LogLinear(1e-2)),
        ({"noise__eps": None}, "duo", "leave-one-out", LogLinear(1e-3)),
        ({"noise__type": "cosine"}, "duo", "leave-one-out", Cosine(1e-3)),
        # rev_udm: its eps is training.sampling_eps, and noise.eps, 0 there, is read by nothing.
        ({"algo__name": "udlm", "algo__model_prediction": "mean_loo", "noise__eps": 0}, "udlm", "leave-one-out",
         LogLinear(2e-3)),
        ({"algo__name": "udlm", "algo__model_prediction": "mean"}, "udlm", "posterior", LogLinear(2e-3)),
        # UDLM's own repository has no algo.
        ({"algo": None, "diffusion": "uniform", "backbone": "dit", "parameterization": "d3pm",
          "noise__type": "loglinear", "noise__eps": None, "time_conditioning": True},
         "udlm", "leave-one-out", LogLinear(1e-3)),
        ({"algo": None, "diffusion": "uniform", "noise__type": "loglinear", "training__use_simple_ce_loss": True},
         "udlm", "posterior", LogLinear(1e-3)),
    ],
)  # fmt: skip
def test_the_families(tmp_path, changes, family, law, schedule):
    model = load(saved(tmp_path / "a.ckpt", configuration(**changes)))
    assert (model.info.family, model.info.law, model.denoiser.schedule) == (family, law, schedule)
    assert same(model, weights(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algo__name": "mdlm"}, "masked diffusion model .*MDLM.*uniform over the vocabulary"),
        ({"algo__name": "sedd"}, "score model"),
        ({"algo__name": "ar"}, "autoregressive"),
        ({"algo__name": "d3pm"}, "absorbing"),
        ({"algo__name": "audm"}, "absorbing"),
        ({"algo": None, "diffusion": "absorbing_state"}, "masked"),
        ({"algo__name": "gravity"}, "unknown algorithm 'gravity'; known: duo_base, duo, distillation, udlm"),
        ({"algo": None}, "unknown algorithm"),
        ({"algo__backbone": "dimamba"}, "backbone is 'dimamba'"),
        ({"algo__causal_attention": True}, "autoregressive"),
        ({"algo__parameterization": "subs"}, "parameterization is 'subs'"),
        ({"algo__time_conditioning": False}, "not conditioned on time"),
        ({"algo__subs_masking": True}, "mask token"),
        ({"noise__type": "geometric"}, "noise schedule is 'geometric'"),
        ({"noise__eps": 0.0}, "eps"),
        ({"noise__eps": "1e-3"}, "eps"),
        ({"model__length": None}, "model.length"),
        ({"model__length": "${a.b}"}, "model.length"),
        ({"model__length": "${model.length}"}, "model.length"),
        ({"model__length": 10**9}, "model_length is 1000000000"),
        ({"model__hidden_size": 17}, "hidden_dim is 17 in its config, and its tensors say 16"),
        ({"model__n_blocks": 3}, "n_blocks is 3"),
        ({"model__cond_dim": 9}, "cond_dim is 9"),
    ],
)
def test_what_is_not_audited_is_refused_in_one_sentence(tmp_path, changes, message):
    path = saved(tmp_path / "a.ckpt", configuration(**changes))
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_interpolation_that_is_a_name_is_followed(tmp_path):
    config = configuration(model__length="${data.length}", data__length="${x}", x=8, wandb='${eval:"exit()"}')
    assert load(saved(tmp_path / "a.ckpt", config)).info.max_length == 8


def test_noise_leaves_out_the_mask_that_rev_udm_appends(tmp_path):
    vocabulary = train_tokenizer("char", ["abcdefghijk"], "cut", "none")
    (tmp_path / "tokenizer.json").write_text(vocabulary.to_json())
    revised = configuration(algo__name="udlm", algo__model_prediction="mean_loo")
    model = load(saved(tmp_path / "a.ckpt", revised), tokenizer=tmp_path)
    assert model.denoiser.noise_tokens.tolist() == list(range(11))
    assert model.denoiser.vocab_size == 12
    # DUO's appended [PAD] is noise like any other token.
    plain = load(saved(tmp_path / "b.ckpt"), tokenizer=tmp_path)
    assert plain.denoiser.noise_tokens.tolist() == list(range(12))
    assert plain.tokenizer.id_of("[PAD]") == 11


def changed(tmp_path, change):
    content = checkpoint()
    change(content)
    torch.save(content, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


def rename(content, old, new):
    content["state_dict"][new] = content["state_dict"].pop(old)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("state_dict"), "no state_dict, but 'epoch'"),
        (lambda c: c.update(state_dict=[]), "no state_dict"),
        (lambda c: c["state_dict"].clear(), "vocab_embed.embedding"),
        (lambda c: c["state_dict"].update({"backbone.x": torch.zeros(2)}), "'x' does not belong|EMA weights"),
        (lambda c: c["state_dict"].update({"backbone.x": 3}), "'backbone.x' in its state_dict is no tensor"),
        (lambda c: c["state_dict"].update({"vocab_embed.embedding": torch.zeros(2)}), "is there twice"),
        (lambda c: c["state_dict"].update({3: torch.zeros(2)}), "has no name"),
        (lambda c: c["state_dict"].update({("a", ("b",)): torch.zeros(2)}), "has no name"),
        (lambda c: c["state_dict"].update({"module." * 10**6: torch.zeros(2)}), "too long"),
        (lambda c: c["hyper_parameters"]["config"]["model"].update(length=["x" * 10**6] * 10**4), "too large"),
        (lambda c: c["state_dict"].update({"backbone.blocks.0.mlp.0.weight": torch.zeros(16 * 65, 16)}), "mlp_ratio"),
        (lambda c: rename(c, "backbone.blocks.1.norm1.weight", "backbone.blocks.9.norm1.weight"), "n_blocks"),
        (lambda c: c["state_dict"].update({"backbone.blocks.0.mlp.0.weight": torch.zeros(8, 16)}), "shape"),
        (lambda c: c["state_dict"].update({"backbone.vocab_embed.embedding": torch.zeros(12)}), "odd dimensions"),
        (lambda c: c["state_dict"].update({"backbone.vocab_embed.embedding": torch.zeros(0, 16)}), "vocab_size is 0"),
        (lambda c: c.pop("hyper_parameters"), "no configuration"),
        (lambda c: c.update(hyper_parameters=[1]), "no configuration"),
        (lambda c: c["hyper_parameters"].update(config=3), "no configuration"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, change, message):
    path = changed(tmp_path, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path, "raw")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers_cannot_be_audited(tmp_path):
    def spoil(content):
        content["state_dict"]["backbone.output_layer.linear.bias"][3] = float("nan")

    path = changed(tmp_path, spoil)
    with pytest.raises(UnauditableModel, match=r"output_layer\.linear\.bias' holds NaN"):
        load(path, "raw")
    assert same(load(path, "ema"), weights(1))


def test_parameters_may_not_share_their_numbers(tmp_path):
    def share(content):
        state = content["state_dict"]
        state["backbone.blocks.1.attn_out.weight"] = state["backbone.blocks.0.attn_out.weight"]

    with pytest.raises(CheckpointError, match="shares its numbers"):
        load(changed(tmp_path, share), "raw")


def test_hyper_parameters_may_be_of_a_class_of_their_own(tmp_path):
    program = pickle_of(saved(tmp_path / "a.ckpt"))
    at = program.index(b"hyper_parameters") + len(b"hyper_parameters")
    at = program.index(b"}", at)
    wrapped = program[:at] + b"clightning.fabric\nAttributeDict\n)\x81" + program[at + 1 :]
    assert same(load(with_pickle(tmp_path / "b.ckpt", wrapped, tmp_path / "a.ckpt")), weights(1))


# Tokenizers


@pytest.fixture
def vocabulary(tmp_path):
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def test_without_a_tokenizer_tokens_still_work(tmp_path, vocabulary):
    model = load(saved(tmp_path / "a.ckpt"))
    assert model.tokenizer is None
    assert model.info.tokenizer_sha256 is None
    assert isinstance(model.rows(Candidate("f", 1, "f:1", "the cat")), Skipped)
    (row,) = model.rows(Candidate("f", 1, "f:1", token_ids=(5, 6)))
    assert row.own == (5, 6)
    named = load(tmp_path / "a.ckpt", tokenizer=vocabulary)
    (row,) = named.rows(Candidate("f", 1, "f:1", "The Cáts sat."))
    assert row.own == (5, 6, 7, 8, 11)
    cls = named.tokenizer.id_of("[CLS]")
    assert row.tokens == (cls, *row.own, cls)


def test_a_tokenizer_of_another_size_is_refused(tmp_path, vocabulary):
    (vocabulary / "vocab.txt").write_text("\n".join(WORDS[:9]))
    path = saved(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="9 tokens and the network 12"):
        load(path, tokenizer=vocabulary)
    with pytest.raises(CheckpointError, match="no such tokenizer"):
        load(path, tokenizer=tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="no tokenizer in it"):
        (tmp_path / "empty").mkdir()
        load(path, tokenizer=tmp_path / "empty")


@pytest.mark.parametrize(
    "text", ["The cats sat on the mat.", "CAT  Ŝat", "ＣＡＴ", "on 的 mat", "café", "the[MASK]cat", "x" * 300]
)
def test_word_pieces_are_those_of_transformers(vocabulary, text):
    from transformers import BertTokenizer

    theirs = BertTokenizer(str(vocabulary / "vocab.txt"))
    ours = read_vocabulary(vocabulary / "vocab.txt")
    expected = tuple(theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    assert ours._ids(text) == (None if 1 in expected else expected)


def test_a_cased_vocabulary_keeps_its_capitals(tmp_path):
    words = [*WORDS, "Cat", "THE"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    assert read_vocabulary(tmp_path / "vocab.txt").encode("THE Cat cat") == (13, 12, 6)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert read_vocabulary(tmp_path / "vocab.txt").encode("THE Cat cat") == (5, 6, 6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no \\[UNK\\]"),
        (b"a\nb", "no \\[UNK\\]"),
        (b"[UNK]\na\na", "stands in it twice"),
        (b"[UNK]\n\xff", "not UTF-8"),
    ],
)
def test_a_damaged_vocabulary_is_refused(tmp_path, content, message):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_vocabulary(tmp_path / "vocab.txt")
    assert "\n" not in str(caught.value)


def bert(vocab, **state):
    return Inert(Global("transformers.BertTokenizer"), (), state={"vocab": vocab, **state})


def test_a_pickled_fast_tokenizer_is_recovered():
    json = train_tokenizer("char", ["hello"], "cut", "none").to_json().encode()
    fast = Inert(Global("tokenizers.Tokenizer"), (), state=json)
    found = pickled_tokenizer(Inert(Global("transformers.GPT2TokenizerFast"), (), state={"_tokenizer": fast}))
    assert found.decode(found.encode("hello")) == "hello"
    fast.state = b"\xff{}"
    with pytest.raises(ValueError, match="damaged"):
        pickled_tokenizer(Inert(Global("x.Y"), (), state={"_tokenizer": fast}))


def test_a_pickled_vocabulary_is_checked():
    good = {word: i for i, word in enumerate(WORDS)}
    cased = Inert(Global("x.BasicTokenizer"), (), state={"do_lower_case": False})
    assert pickled_tokenizer(bert(good)).encode("The") == (5,)
    assert pickled_tokenizer(bert(good, basic_tokenizer=cased))._ids("The") is None
    for bad in ({**good, "x": 99}, {**good, "x": "y"}, {**good, "x": True}, {**good, 5: 12}, {**good, "x": -1}):
        with pytest.raises(ValueError, match="vocabulary"):
            pickled_tokenizer(bert(bad))
    for nothing in (None, 3, {}, Inert(Global("a.b"), ()), bert([]), bert({}), bert({"a": 0})):
        assert pickled_tokenizer(nothing) is None
    with pytest.raises(ValueError, match="no \\[UNK\\]"):
        word_piece({})


# Hostile files


@pytest.mark.parametrize("name", [*live(""), *inert("")])
def test_a_payload_beside_good_weights_changes_nothing(tmp_path, monkeypatch, oracles, name):
    monkeypatch.chdir(tmp_path)
    payload = {**live(COMMAND), **inert(COMMAND)}[name]
    program = pickle_of()
    path = with_pickle(tmp_path / "a.ckpt", program[:2] + payload + b"0" + program[2:])
    assert load(path, "raw").info.weights_sha256 == oracles["raw"].info.weights_sha256
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", [*live(""), *inert("")])
def test_a_payload_in_place_of_a_checkpoint_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    payload = {**live(COMMAND), **inert(COMMAND)}[name]
    for wrapped in (payload, b"}X\x0a\x00\x00\x00state_dict" + payload + b"s"):
        with pytest.raises(CheckpointError) as caught:
            load(with_pickle(tmp_path / "a.ckpt", wrapped + b"."))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", [*live(""), *inert("")])
def test_a_payload_in_place_of_a_part_is_refused_or_left_alone(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    payload = {**live(COMMAND), **inert(COMMAND)}[name]
    good = pickle_of(saved(tmp_path / "good.ckpt"))
    for key in (b"state_dict", b"config", b"ema", b"shadow_params", b"hyper_parameters", b"vocab_size", b"length"):
        at = good.index(b"X" + bytes([len(key)]) + b"\0\0\0" + key) + 5 + len(key)
        # Its own memo, then the payload as a value before the real one, which is then taken off again or left.
        at += 2 if good[at : at + 1] == b"q" else 5
        for spliced in (good[:at] + payload + good[at:], good[:at] + payload + b"0" + good[at:]):
            try:
                load(with_pickle(tmp_path / "bad.ckpt", spliced, tmp_path / "good.ckpt"))
            except CheckpointError as error:
                assert "\n" not in str(error)
    assert not (tmp_path / "canary").exists()


def test_a_file_of_another_kind_under_this_name_is_refused(tmp_path):
    for name, content in {
        "a.ckpt": b"\x80\x04N.",
        "b.ckpt": b"#!/bin/sh\ntouch canary\n",
        "c.ckpt": DUO.joinpath("raw.npz").read_bytes(),
        "d.ckpt": ORACLE.read_bytes()[:-1000],
        "e.ckpt": ORACLE.read_bytes()[:1000],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("good") / "a.ckpt", optimizer_states=[])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_to_the_pickle_gives_a_model_or_a_clear_error(tmp_path, good, data):
    content = bytearray(pickle_of(good))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + 1] = data.draw(st.binary(max_size=6))
    load_or_refuse(with_pickle(tmp_path / "b.ckpt", bytes(content), good))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_to_the_file_gives_a_model_or_a_clear_error(tmp_path, good, data):
    content = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "b.ckpt").write_bytes(content)
    load_or_refuse(tmp_path / "b.ckpt")


def load_or_refuse(path):
    for which in ("raw", None):
        try:
            assert load(path, which).info.family
        except CheckpointError as error:
            assert "\n" not in str(error)
