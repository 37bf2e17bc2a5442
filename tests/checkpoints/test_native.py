import json
import shutil
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from audit_cli.checkpoints import CheckpointError, UnauditableModel, load_model
from audit_cli.checkpoints.native import NativeConfig, build_network, save_native
from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.checkpoints.safetensors_files import tensors_sha256
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.diffusion.schedules import Cosine
from audit_cli.models.additive import AdditiveConfig, TimelessConfig
from audit_cli.models.dit import DiTConfig
from audit_cli.records import Candidate, Skipped

TOKENIZER = train_tokenizer("char", ["abcdefg "], "cut", "none")


@pytest.fixture
def folder(tmp_path):
    config = NativeConfig("additive", AdditiveConfig(8, 12, 16, 1, 2), Cosine())
    torch.manual_seed(0)
    save_native(tmp_path / "model", config, TOKENIZER, build_network(config).state_dict())
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("additive", AdditiveConfig(8, 12, 16, 1, 2)),
        ("timeless", TimelessConfig(8, 12, 16, 1, 2)),
        ("dit", DiTConfig(8, 12, 16, 1, 2)),
    ],
)
def test_what_is_saved_is_what_is_loaded(tmp_path, name, backbone):
    config = NativeConfig(name, backbone, Cosine(1e-2), rows="cut")
    network = build_network(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    save_native(tmp_path, config, TOKENIZER, network.state_dict())
    loaded = load_model(tmp_path)
    tokens, t = torch.arange(8)[None], torch.tensor([0.3], dtype=torch.float64)
    expected = NetworkDenoiser(network, config.schedule, config.law).hidden(tokens, t)
    assert torch.equal(loaded.denoiser.hidden(tokens, t), expected)
    assert loaded.denoiser.schedule == Cosine(1e-2)
    assert loaded.info.weights_sha256 == tensors_sha256(network.state_dict())
    assert loaded.info.parameters == sum(p.numel() for p in network.parameters())


def test_ema_weights_are_the_default_where_there_are_any(folder):
    raw = load_file(folder / "model.safetensors")
    save_file({k: v + 1 for k, v in raw.items()}, folder / "ema.safetensors")
    assert load_model(folder).info.weights == "ema"
    assert torch.equal(load_model(folder, "raw").denoiser.head.bias, raw["head.bias"])
    assert torch.equal(load_model(folder, "ema").denoiser.head.bias, raw["head.bias"] + 1)


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        place = config
        *path, last = key.split("__")
        for part in path:
            place = place[part]
        place[last] = value
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"format": 2}, "format 2"),
        ({"backbone": []}, "backbone must be an object"),
        ({"backbone__name": "rnn"}, "backbone must be an object whose name"),
        ({"backbone__width": 10**9}, "backbone.width must be a whole number"),
        ({"backbone__layers": -1}, "backbone.layers"),
        ({"backbone__vocab_size": 1}, "vocab_size must be at least 2"),
        ({"backbone__width": 17}, "width 17"),
        ({"backbone__extra": 3}, "extra"),
        ({"schedule": "fast"}, "schedule must be an object"),
        ({"schedule__name": "fast"}, "unknown noise schedule"),
        ({"noise": "absorbing"}, "uniform-state"),
        ({"law": "gravity"}, "gravity"),
        ({"rows": "fold"}, "rows must be one of"),
        ({"backbone__width": 32}, "shape"),
        ({"backbone__layers": 2}, "is missing"),
        ({"backbone__vocab_size": 9}, "do not belong together"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"model_type": "uddm-audit"}'])
def test_a_damaged_configuration_is_refused(folder, damage):
    (folder / "config.json").write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(folder)


def test_a_configuration_is_not_read_past_its_size(folder):
    (folder / "config.json").write_bytes(b" " * (2 << 20))
    with pytest.raises(CheckpointError, match="larger than"):
        load_model(folder)


def header(size, text):
    return struct.pack("<Q", size) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234",
        header(10**15, b"{}"),
        header(2, b"{}"),
        header(4, b"nope"),
        header(70, b'{"head.bias":{"dtype":"F32","shape":[8],"data_offsets":[0,99999999]}}'.ljust(70)),
        header(70, b'{"head.bias":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4]}}  '.ljust(70)) + b"abcd",
    ],
    ids=["empty", "short", "huge header", "no tensors", "no json", "offsets past the end", "lying shape"],
)
def test_a_lying_safetensors_file_is_refused(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(folder)


def test_a_truncated_safetensors_file_is_refused(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
def test_flipped_bytes_give_a_model_or_a_clear_error(folder, where, junk):
    original = (folder / "model.safetensors").read_bytes()
    damaged = bytearray(original)
    damaged[where : where + len(junk)] = junk
    (folder / "model.safetensors").write_bytes(bytes(damaged))
    try:
        load_model(folder)
    except CheckpointError as error:
        assert "\n" not in str(error)
    finally:
        (folder / "model.safetensors").write_bytes(original)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_cannot_be_audited(folder, bad):
    tensors = load_file(folder / "model.safetensors")
    tensors["head.bias"][3] = bad
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UnauditableModel, match=r"'head\.bias' holds NaN or infinity"):
        load_model(folder)


def test_integer_tensors_are_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["head.bias"] = torch.arange(8)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="not floating point"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": "1.0", "model": {"type": "Evil"}}', b"\x80\x04."])
def test_a_damaged_tokenizer_is_refused(folder, content):
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        load_model(folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=missing.replace(".", r"\.")):
        load_model(folder)


def test_what_is_no_folder_is_said(folder, tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="not a checkpoint folder"):
        load_model(folder / "config.json")
    with pytest.raises(CheckpointError, match="no EMA weights"):
        load_model(folder, "ema")
    shutil.rmtree(folder)


def test_candidates_that_do_not_fit_are_skipped_with_a_reason(folder):
    model = load_model(folder)

    def reason(text=None, ids=None):
        rows = model.rows(Candidate("f.txt", 1, "f.txt:1", text, ids))
        return rows.reason if isinstance(rows, Skipped) else tuple(t for row in rows for t in row.tokens)

    assert reason("abc") == TOKENIZER.encode("abc")
    assert reason("abz") == "'z' is not in the model's vocabulary"
    assert reason("a" * 12) == TOKENIZER.encode("a" * 12)
    assert reason("") == "the text has no tokens"
    assert reason(ids=(0, 8)) == "token 8 is outside the model's vocabulary of 8"
    assert reason(ids=(0, -1)) == "token -1 is outside the model's vocabulary of 8"
    assert reason(ids=(0, 7)) == (0, 7)
    assert reason("a\x1b[31m") == "'\\x1b' is not in the model's vocabulary"
    assert reason("\ud800") == "'\\ud800' is not in the model's vocabulary"


def test_a_checkpoint_saved_over_another_does_not_keep_its_moving_average(folder):
    config = NativeConfig("additive", AdditiveConfig(8, 12, 16, 1, 2), Cosine())
    first, second = build_network(config).state_dict(), build_network(config).state_dict()
    save_native(folder, config, TOKENIZER, first, ema=first)
    assert load_model(folder).info.weights == "ema"
    save_native(folder, config, TOKENIZER, second)
    assert load_model(folder).info.weights == "raw"
