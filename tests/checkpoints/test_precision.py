"""Matrices of 16 bits, the dynamics of families, and what is said of a checkpoint when it is loaded."""

import json

import pytest
import torch

from audit_cli.checkpoints import load_model
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.records import Candidate, Row
from tests.checkpoints.folders import ORACLES, udlm_folder
from tests.checkpoints.test_lightning import saved

EXAMPLES = ORACLES.parents[2] / "examples"
LIGHTNING = ORACLES / "duo" / "lm1b-oracle.ckpt"
SOURCES = {
    "native": EXAMPLES / "memorizing",
    "lightning": LIGHTNING,
    "udlm": ORACLES / "udlm",
    "gidd": ORACLES / "gidd",
}


def rows(model, count=40):
    generator = torch.Generator().manual_seed(0)
    lengths = [3 + i % (min(model.denoiser.max_length, 24) - 2) for i in range(count)]
    tokens = [tuple(torch.randint(5, 20, (n,), generator=generator).tolist()) for n in lengths]
    return [Row(Candidate("f", i, f"f:{i}"), t, 0, len(t)) for i, t in enumerate(tokens)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SOURCES)
def test_only_matrices_are_rounded_and_little_changes(name, dtype):
    whole, narrow = load_model(SOURCES[name]), load_model(SOURCES[name], dtype=dtype)
    assert (whole.info.precision, narrow.info.precision) == ("float32", str(dtype).removeprefix("torch."))
    assert narrow.info.weights_sha256 != whole.info.weights_sha256
    assert narrow.info.parameters == whole.info.parameters
    exact = whole.denoiser.network.state_dict()
    for key, tensor in narrow.denoiser.network.state_dict().items():
        rounded = tensor.dtype == dtype
        assert rounded or torch.equal(tensor, exact[key])
        assert torch.equal(tensor.float(), exact[key].to(tensor.dtype).float())
        assert rounded == (exact[key].ndim == 2 and key.endswith(("weight", "embedding")))
    pairs = [EntropyProbe().measure(m.denoiser, rows(whole)) for m in (whole, narrow)]
    # The coarser type keeps eight bits, an error of .4 % in every product; surprises here reach 20 nats.
    for one, other in zip(*pairs, strict=True):
        assert other.surprise_mean == pytest.approx(one.surprise_mean, rel=0.03, abs=0.03)
        assert other.entropy_mean == pytest.approx(one.entropy_mean, rel=0.03, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SOURCES)
def test_a_row_is_the_same_in_any_batch(name, dtype):
    model = load_model(SOURCES[name], dtype=dtype)
    some = rows(model)
    one, few, all_at_once = (list(EntropyProbe(batch_size=n).measure(model.denoiser, some)) for n in (1, 3, 64))
    assert one == few == all_at_once


@pytest.mark.parametrize(("name", "removal"), [("native", True), ("lightning", True), ("udlm", False), ("gidd", False)])
def test_a_familys_grid_ends_as_its_own_sampler_does(name, removal):
    sampling = load_model(SOURCES[name]).sampling
    assert (sampling.dynamics, sampling.noise_removal) == ("ancestral", removal)


def test_code_of_a_folder_is_said_to_be_ignored(tmp_path):
    folder = udlm_folder(tmp_path / "udlm")
    assert load_model(folder).notes == ()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling.Model"}}))
    (note,) = load_model(folder).notes
    assert "auto_map" in note


class Payload:
    def __reduce__(self):
        return print, ("it ran",)


def test_what_a_pickle_names_beyond_the_ordinary_is_said(tmp_path, capsys):
    assert load_model(saved(tmp_path / "plain.ckpt")).notes == ()
    assert load_model(LIGHTNING).notes == ()
    (note,) = load_model(saved(tmp_path / "odd.ckpt", callbacks={"x": Payload()})).notes
    assert "builtins.print" in note
    assert "nothing of it ran" in note
    assert capsys.readouterr().out == ""
