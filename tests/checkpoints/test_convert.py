"""A converted checkpoint is the same model, and hostile values in its configuration are one sentence each."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from audit_cli.checkpoints import CheckpointError, UnauditableModel, load_model
from audit_cli.checkpoints import convert as convert_module
from audit_cli.checkpoints.convert import NotWritten, convert
from audit_cli.checkpoints.native_config import NativeConfig, parse_config
from audit_cli.checkpoints.safetensors_files import tensors_sha256, write_tensors
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.diffusion.denoiser import predict
from audit_cli.records import Candidate
from tests.checkpoints import test_duo, test_sumi
from tests.checkpoints.folders import ORACLES, dit_tensors, oracle, random_dit, udlm_folder, write_folder
from tests.checkpoints.lightning_files import ORACLE, checkpoint, configuration, saved

EXAMPLES = Path(__file__).parents[2] / "examples"
NATIVE = EXAMPLES / "memorizing"


def duo(path, name="duo"):
    network = random_dit(len(test_duo.GPT2) + 1, 12)
    folder = write_folder(path / name, test_duo.published(network), dit_tensors(network))
    (folder / "vocab.json").write_text(json.dumps(test_duo.GPT2))
    (folder / "merges.txt").write_text(test_duo.MERGES)
    return folder, None


def gidd(path, words=50):
    given = path / "words.txt"
    given.write_text("\n".join(["[PAD]", "[UNK]", *(f"w{i}" for i in range(words - 2))]))
    return write_folder(path / "gidd", *oracle("gidd"), shards=3), given


def revised(path, prediction="mean_loo", name="udlm"):
    """A rev_udm file: 11 tokens of text, and a mask that noise never draws."""
    path.mkdir(exist_ok=True)
    (path / "tokenizer.json").write_text(train_tokenizer("char", ["abcdefghijk"], "cut", "none").to_json())
    changes = {"algo__name": name, "algo__model_prediction": prediction}
    return saved(path / "rev.ckpt", configuration(**changes)), path / "tokenizer.json"


SOURCES = {
    "lightning": lambda path: (ORACLE, None),
    "lightning without a tokenizer": lambda path: (saved(path / "a.ckpt"), None),
    "lightning of 16 bits": lambda path: (saved(path / "a.ckpt", dtype=torch.bfloat16), None),
    "duo": duo,
    "distilled": lambda path: duo(path, "duo-distilled"),
    "udlm": lambda path: (udlm_folder(path / "udlm"), None),
    "gidd with a padded head": gidd,
    "gidd without a tokenizer": lambda path: (ORACLES / "gidd", None),
    "sumi": lambda path: (test_sumi.folder_of(path), None),
    "sumi of 16 bits in shards": lambda path: (test_sumi.folder_of(path, torch.bfloat16, 3), None),
    "rev_udm": revised,
    "rev_udm, posterior": lambda path: revised(path, "mean"),
}


@pytest.fixture(params=SOURCES)
def source(request, tmp_path):
    """A checkpoint of every family, and the tokenizer that is given with it."""
    (tmp_path / "source").mkdir()
    return SOURCES[request.param](tmp_path / "source")


def same(one, other):
    """Whether two loaded models are one but for where they came from."""
    here, there = one.denoiser, other.denoiser
    assert type(here) is type(there)
    tokens = torch.randint(0, here.vocab_size, (3, 7), generator=torch.Generator().manual_seed(0))
    for time in (1e-4, 0.3, 1.0):
        t = torch.full((3,), time, dtype=torch.float64)
        assert torch.equal(here.hidden(tokens, t), there.hidden(tokens, t))
        assert torch.equal(predict(here, tokens, t).entropy, predict(there, tokens, t).entropy)
    assert torch.equal(here.noise_tokens, there.noise_tokens)
    assert (here.schedule, here.law, here.max_length) == (there.schedule, there.law, there.max_length)
    assert (one.layout, one.sampling) == (other.layout, other.sampling)
    assert replace(one.info, name="", tokenizer="") == replace(other.info, name="", tokenizer="")
    assert (one.tokenizer is None) == (other.tokenizer is None)


def test_what_is_converted_is_the_same_model(source, tmp_path):
    path, tokenizer = source
    done = convert(path, tmp_path / "out", tokenizer)
    original, converted = load_model(path, tokenizer=tokenizer), load_model(tmp_path / "out")
    same(original, converted)
    assert done.info == converted.info
    candidate = Candidate("f", 1, "f:1", "the cat sat", None)
    if original.tokenizer is not None:
        found = [model.rows(candidate) for model in (original, converted)]
        assert found[0] == found[1]
    written = json.loads((tmp_path / "out" / "config.json").read_text())["source"]
    assert written == {
        "name": Path(path).name,
        "family": original.info.family,
        "sha256": original.info.weights_sha256,
    }
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_it_is_the_same_at_another_precision(tmp_path, dtype):
    path = test_sumi.folder_of(tmp_path, torch.bfloat16, 3)
    convert(path, tmp_path / "out")
    one, other = (load_model(where, dtype=dtype).info for where in (path, tmp_path / "out"))
    assert one.weights_sha256 == other.weights_sha256
    assert {t.dtype for t in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_both_sets_of_a_lightning_file_are_kept(tmp_path):
    assert convert(ORACLE, tmp_path / "out").sets == ("ema", "raw")
    for weights in ("raw", "ema"):
        same(load_model(ORACLE, weights), load_model(tmp_path / "out", weights))


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_one_set_of_a_lightning_file_is_kept_where_it_is_named(tmp_path, weights):
    out = tmp_path / "out"
    assert convert(ORACLE, out, weights=weights).sets == (weights,)
    assert not (out / "ema.safetensors").exists()
    same(load_model(ORACLE, weights), load_model(out))
    same(load_model(ORACLE, weights), load_model(out, weights))
    with pytest.raises(CheckpointError, match="there are no"):
        load_model(out, {"raw": "ema", "ema": "raw"}[weights])


def test_raw_weights_that_are_no_numbers_leave_the_average(tmp_path):
    content = checkpoint()
    content["state_dict"]["backbone.output_layer.linear.bias"][3] = float("nan")
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UnauditableModel, match="holds NaN or infinity; --weights ema converts"):
        convert(tmp_path / "a.ckpt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert convert(tmp_path / "a.ckpt", tmp_path / "out", weights="ema").sets == ("ema",)


def test_there_is_one_set_of_a_published_folder(tmp_path):
    folder, _ = duo(tmp_path)
    with pytest.raises(CheckpointError, match=r"only one set \(published\)"):
        convert(folder, tmp_path / "out", weights="ema")
    convert(folder, tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"there are no raw weights, only one set \(published\)"):
        load_model(tmp_path / "out", "raw")


def test_a_folder_without_a_tokenizer_takes_one_and_another_does_not(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    folder, words = gidd(tmp_path / "a")
    convert(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "tokenizer.json").exists()
    same(load_model(folder, tokenizer=words), load_model(tmp_path / "out", tokenizer=words))
    _, more = gidd(tmp_path / "b", 60)
    with pytest.raises(CheckpointError, match="60 tokens and the network 59: they do not belong together"):
        load_model(tmp_path / "out", tokenizer=more)
    convert(folder, tmp_path / "with", words)
    with pytest.raises(CheckpointError, match="has its own tokenizer; leave out --tokenizer"):
        load_model(tmp_path / "with", tokenizer=words)


def test_a_tokenizer_that_the_configuration_denies_is_refused(tmp_path):
    convert(ORACLES / "gidd", tmp_path / "out")
    (tmp_path / "out" / "tokenizer.json").write_bytes((NATIVE / "tokenizer.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"is there, and config\.json says that there is none"):
        load_model(tmp_path / "out")


def test_an_average_beside_the_only_set_is_refused(tmp_path):
    folder = udlm_folder(tmp_path / "udlm")
    convert(folder, tmp_path / "out")
    (tmp_path / "out" / "ema.safetensors").write_bytes((tmp_path / "out" / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"the only set, and there is ema\.safetensors as well"):
        load_model(tmp_path / "out")


def test_a_name_on_the_hub_is_converted_under_its_name_and_commit(tmp_path, monkeypatch):
    snapshot = udlm_folder(tmp_path / "models--a--b" / "snapshots" / ("0123456789abcdef" * 2))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot))
    monkeypatch.chdir(tmp_path)
    convert("a/b", tmp_path / "out")
    same(load_model(snapshot), load_model(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "config.json").read_text())["source"]["name"] == "a/b@0123456789ab"


# What is refused, and what is left


def test_what_is_native_is_not_converted(tmp_path):
    convert(ORACLE, tmp_path / "out")
    for folder in (NATIVE, tmp_path / "out"):
        with pytest.raises(CheckpointError, match="already native"):
            convert(folder, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_network_of_another_library_is_refused(tmp_path, monkeypatch):
    model = load_model(ORACLE)

    class Foreign:
        network = torch.nn.Linear(2, 2)
        vocab_size = 57

    monkeypatch.setattr(convert_module, "load_model", lambda *_: replace(model, denoiser=Foreign()))
    with pytest.raises(CheckpointError, match="duo has a network of another library") as caught:
        convert(ORACLE, tmp_path / "out")
    assert str(caught.value).startswith(str(ORACLE))
    assert not (tmp_path / "out").exists()


def test_diffusion_gemma_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["DiffusionGemmaForBlockDiffusion"]}))
    monkeypatch.setattr(convert_module, "load_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(CheckpointError, match="network of another library, which the native format cannot hold"):
        convert(tmp_path, tmp_path.parent / "out")


@pytest.mark.parametrize("inside", ["", "native"])
def test_nothing_is_written_into_the_source(tmp_path, inside):
    folder, _ = duo(tmp_path)
    before = sorted(folder.iterdir())
    with pytest.raises(CheckpointError, match=r"is there and not of a checkpoint|in the checkpoint that is converted"):
        convert(folder, folder / inside)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("name", ["notes.txt", "model-00001-of-00002.safetensors", "model.safetensors", "config.json"])
def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match=rf"{name}: is there and not of a checkpoint of uddm-audit"):
            convert(ORACLE, tmp_path / "out", overwrite=overwrite)
    assert [file.name for file in (tmp_path / "out").iterdir()] == [name]


def test_a_checkpoint_of_ours_is_replaced_where_that_is_said(tmp_path):
    out = tmp_path / "out"
    convert(ORACLE, out)
    (out / "training.safetensors").write_bytes(b"state")
    with pytest.raises(CheckpointError, match="holds a checkpoint; --overwrite replaces it"):
        convert(ORACLES / "gidd", out)
    assert load_model(out).info.family == "duo"
    convert(ORACLES / "gidd", out, overwrite=True)
    assert sorted(file.name for file in out.iterdir()) == ["config.json", "model.safetensors"]
    same(load_model(ORACLES / "gidd"), load_model(out))
    (out / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"notes\.txt: is there and not of a checkpoint"):
        convert(ORACLE, out, overwrite=True)


@pytest.mark.parametrize("which", range(4), ids=["config", "tokenizer", "ema", "raw"])
@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
def test_a_full_disk_leaves_everything_as_it_was(tmp_path, monkeypatch, which, before):
    out = tmp_path / "deep" / "out"
    if before:
        convert(ORACLES / "gidd", out)
    contents = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    calls = []

    def full(file):
        calls.append(file)
        if len(calls) > which:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("audit_cli.checkpoints.whole_files.os.fsync", full)
        with pytest.raises(NotWritten, match="out: disk full; nothing was written"):
            convert(ORACLE, out, overwrite=True)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == contents
    assert out.exists() == before
    assert (tmp_path / "deep").exists() == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_a_stopped_conversion_leaves_nothing(tmp_path, monkeypatch, stop):
    monkeypatch.setattr(convert_module, "save_weights", lambda *_: (_ for _ in ()).throw(stop))
    with pytest.raises(stop):
        convert(ORACLE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_killed_conversion_left_is_in_nobodys_way(tmp_path):
    left = tmp_path / "out" / ".uddm-audit.abc"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    same(load_model(ORACLE), (convert(ORACLE, tmp_path / "out"), load_model(tmp_path / "out"))[1])
    assert left.exists()


def test_an_unreadable_copy_is_not_kept(tmp_path, monkeypatch):
    write = convert_module.save_weights
    spoil = {"output_layer.linear.bias": torch.zeros(57)}
    monkeypatch.setattr(convert_module, "save_weights", lambda file, tensors: write(file, tensors | spoil))
    with pytest.raises(NotWritten, match="is not what is read"):
        convert(ORACLE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tensors_are_written_as_safetensors_reads_them(tmp_path):
    tensors = {
        "b": torch.arange(6.0).view(2, 3).T,
        "a": torch.ones(3, dtype=torch.bfloat16),
        "none": torch.zeros(0, 4),
        "point": torch.tensor(2.0, dtype=torch.float64),
        'q"': torch.ones(5, dtype=torch.float16),
    }
    write_tensors(tmp_path / "t.safetensors", tensors)
    found = load_file(tmp_path / "t.safetensors")
    assert found.keys() == tensors.keys()
    assert tensors_sha256(found) == tensors_sha256(tensors)
    save_file({k: v.contiguous() for k, v in tensors.items()}, tmp_path / "theirs.safetensors", {"format": "pt"})
    assert (tmp_path / "t.safetensors").stat().st_size == (tmp_path / "theirs.safetensors").stat().st_size


# The configuration


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Configurations of converted folders by backbone, and the folders."""
    path = tmp_path_factory.mktemp("converted")
    sources = {"dit": udlm_folder(path / "udlm"), "gidd": ORACLES / "gidd", "sumi": test_sumi.folder_of(path)}
    for name, source in sources.items():
        convert(source, path / "out" / name)
    return {name: (path / "out" / name, (path / "out" / name / "config.json").read_text()) for name in sources}


WRONG = {
    "layout is a list": ("dit", {"layout": []}, "layout must be an object"),
    "layout is null": ("dit", {"layout": None}, "layout must be an object"),
    "unknown in layout": ("dit", {"layout": {"max_length": 4, "\x1b": 1}}, r"layout has '\\x1b'"),
    "no length": ("dit", {"layout": {}}, r"layout\.max_length must be a whole number from 1 to 16, not None"),
    "too long": ("dit", {"layout": {"max_length": 17}}, r"layout\.max_length must be a whole number from 1 to 16"),
    "too long beside": ("dit", {"layout": {"max_length": 16, "before": [1]}}, r"layout\.max_length .* from 1 to 15"),
    "no room": ("dit", {"layout": {"max_length": 1, "after": [1] * 16}}, "leave no room"),
    "more than all": ("dit", {"layout": {"max_length": 1, "after": [1] * 17}}, r"layout\.after must be a list"),
    "outside": ("dit", {"layout": {"max_length": 4, "before": [25]}}, r"layout\.before must be a token from 0 to 24"),
    "negative": ("dit", {"layout": {"max_length": 4, "pad_id": -1}}, r"layout\.pad_id must be a token"),
    "truth": ("dit", {"layout": {"max_length": 4, "pad_id": True}}, r"layout\.pad_id must be a token"),
    "packed": ("dit", {"layout": {"max_length": 4, "packed": 1}}, r"layout\.packed must be true or false"),
    "rows": ("dit", {"rows": "x" * 201}, "rows must be 1 to 200 printable"),
    "rows in colour": ("dit", {"rows": "\x1b[31m"}, "rows must be 1 to 200 printable"),
    "never": ("dit", {"never_noise": [25]}, "never_noise must be a token from 0 to 24"),
    "never twice": ("dit", {"never_noise": [2, 2]}, "never_noise names a token twice"),
    "never any": ("dit", {"never_noise": list(range(24))}, "never_noise must be a list of at most 23 tokens"),
    "no mask": ("gidd", {"never_noise": []}, "never_noise must be the one mask token"),
    "two masks": ("gidd", {"never_noise": [1, 3]}, "never_noise must be the one mask token"),
    "a mask": ("sumi", {"never_noise": [1]}, "never_noise must be empty"),
    "a posterior": ("sumi", {"law": "posterior"}, "law must be leave-one-out with the backbone sumi"),
    "removal": ("dit", {"noise_removal": "no"}, "noise_removal must be true or false"),
    "family": ("dit", {"family": "a\nb"}, "family must be 1 to 60 printable characters"),
    "no family": ("dit", {"family": ""}, "family must be 1 to 60 printable characters"),
    "weights": ("dit", {"weights": 3}, "weights must be 1 to 60 printable characters"),
    "tokenizer": ("dit", {"tokenizer": "../tokenizer.json"}, "tokenizer must be null, or left out"),
    "spare": ("dit", {"tokens_without_text": 25}, "tokens_without_text must be a whole number from 0 to 24"),
    "source": ("dit", {"source": "here"}, "source must be an object"),
    "more of a source": ("dit", {"source": {"run": "x"}}, "source has 'run'"),
    "source in colour": ("dit", {"source": {"name": "\x1b[31m"}}, r"source\.name must be at most 200 printable"),
    "no number": ("gidd", {"backbone__soft_cap": "30"}, r"backbone\.soft_cap must be a number, not '30'"),
    "NaN": ("gidd", {"backbone__head_scale": float("nan")}, r"backbone\.head_scale must be a number, not nan"),
    "infinite": ("sumi", {"backbone__rotary_base": float("inf")}, r"backbone\.rotary_base must be a number, not inf"),
    "below nothing": ("sumi", {"backbone__norm_eps": -1e-5}, r"backbone\.norm_eps must be positive"),
    "a float": ("gidd", {"backbone__mlp_width": 128.0}, r"backbone\.mlp_width must be a whole number"),
    "of another": ("sumi", {"backbone__mlp_ratio": 4}, r"backbone has 'mlp_ratio', which sumi has not"),
    "overflow": (
        "dit",
        {"schedule": {"name": "geometric", "sigma_min": 0.1, "sigma_max": 10**400}},
        "schedule has a number that is out of range",
    ),
}


def changed(text, changes):
    config = json.loads(text)
    for key, value in changes.items():
        place = config
        *path, last = key.split("__")
        for part in path:
            place = place[part]
        place[last] = value
    return config


@pytest.mark.parametrize(("backbone", "changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_one_sentence(converted, backbone, changes, message):
    folder, text = converted[backbone]
    try:
        (folder / "config.json").write_text(json.dumps(changed(text, changes)))
        with pytest.raises(CheckpointError, match=message) as caught:
            load_model(folder)
    finally:
        (folder / "config.json").write_text(text)
    assert str(folder) in str(caught.value)
    assert str(caught.value).isprintable()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
LAYOUTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("max_length", "before", "after", "pad_id", "packed"), VALUES)
)
KEYS = ("layout", "never_noise", "noise_removal", "family", "weights", "tokenizer", "tokens_without_text", "source")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    backbone=st.sampled_from(["dit", "gidd", "sumi"]),
    changes=st.dictionaries(st.sampled_from([*KEYS, "rows", "law"]), VALUES | LAYOUTS, min_size=1, max_size=3),
    sizes=st.dictionaries(st.sampled_from(["soft_cap", "norm_eps", "kv_heads", "mlp_ratio"]), VALUES, max_size=1),
)
def test_hostile_values_give_a_model_or_a_clear_error(converted, backbone, changes, sizes):
    folder, text = converted[backbone]
    nested = {f"backbone__{key}": value for key, value in sizes.items()}
    (folder / "config.json").write_text(json.dumps(changed(text, changes | nested)))
    try:
        model = load_model(folder)
        tokens, t = torch.zeros(1, 4, dtype=torch.int64), torch.tensor([0.5], dtype=torch.float64)
        model.denoiser.hidden(tokens, t)
        model.rows(Candidate("f", 1, "f:1", None, (1, 2)))
        assert len(model.denoiser.noise_tokens) >= 2
        assert model.layout.row_length <= model.info.max_length
    except CheckpointError as error:
        assert str(error).isprintable()
    finally:
        (folder / "config.json").write_text(text)


def test_a_configuration_says_only_what_is_not_so_by_default(converted):
    kept = json.loads((NATIVE / "config.json").read_text())
    config = parse_config(kept)
    assert config == NativeConfig("additive", config.backbone, config.schedule, rows="cut", training=kept["training"])
    assert config.to_json() == kept
    for folder, text in converted.values():
        config = parse_config(json.loads(text))
        assert config.to_json() == json.loads(text)
        assert load_model(folder).layout == config.layout


def test_the_examples_have_the_weights_that_they_had():
    found = load_model(NATIVE).info
    assert found.weights_sha256 == "0f7074b518b43d93b76043beb1b58c2fc07f6b961343f12093d4f68fc70607f3"
