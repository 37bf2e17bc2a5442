"""What a path or a name is taken for: families, refusals, names on the hub."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import errors

from audit_cli.checkpoints import FAMILIES, CheckpointError, load_model, recognise
from audit_cli.checkpoints.hub import CONFIG, HubName, hub_name, shown_name
from tests.checkpoints.folders import ORACLES, udlm_folder

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def folder_of(path, **config):
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    return path


def told(path, **options):
    with pytest.raises(CheckpointError) as caught:
        load_model(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"model_type": "uddm-audit"}, "uddm-audit"),
        ({"model_type": "udlm"}, "udlm"),
        ({"architectures": ["UDLM"]}, "udlm"),
        ({"architectures": ["DUO"], "model_type": "mdlm"}, "duo"),
        ({"model_type": "DUO"}, "duo"),
        ({"model_type": "gidd", "architectures": ["GiddForDiffusionLM"]}, "gidd"),
        ({"architectures": "UDLM", "model_type": "gidd"}, "gidd"),
        ({"architectures": [None, {}, "UDLM"]}, "udlm"),
    ],
)
def test_a_family_is_known_by_its_class_then_by_its_model_type(config, family):
    assert recognise(config, "here").name == family


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"model_type": "mdlm", "architectures": ["MDLM"]}, "MDLM is a masked diffusion model"),
        ({"model_type": "llada", "architectures": ["LLaDAModelLM"]}, "LLaDA is a masked diffusion model"),
        ({"model_type": "llada2_moe"}, "LLaDA is a masked diffusion model"),
        ({"model_type": "Dream"}, "Dream is a masked diffusion model"),
        ({"model_type": "dit", "p_uniform": 0.1, "vocab_size": 50258}, "GIDD with p_uniform 0.1 is a hybrid"),
        ({"p_uniform": "\x1b[31m"}, r"GIDD with p_uniform '\x1b[31m' is a hybrid"),
        ({"architectures": ["XDLM"]}, "XDLM is a hybrid"),
        ({"graph": {"type": "absorb"}, "noise": {}, "model": {}, "tokens": 50257}, "SEDD is a score model"),
    ],
)
def test_what_is_not_audited_is_refused_in_one_sentence(tmp_path, config, what):
    message = told(folder_of(tmp_path / "model", **config))
    assert message.startswith(f"{tmp_path / 'model'}: {what}")
    assert message.endswith("this audit does not apply")


@pytest.mark.parametrize(
    ("given", "first"), [("dou", "duo"), ("gidd2", "gidd"), ("UDLM-v2", "udlm"), ("uddm_audit", "uddm-audit")]
)
def test_an_unknown_model_type_is_told_the_nearest_first(tmp_path, given, first):
    message = told(folder_of(tmp_path, model_type=given))
    assert f"model_type is '{given}', and the model types known are {first}, " in message
    assert all(family.name in message for family in FAMILIES if family.supported)


@pytest.mark.parametrize("given", [None, 7, [], {"a": 1}, "\x1b]0;title\x07", "x" * 10_000, "\u202eevil"])
def test_an_odd_model_type_is_shown_harmless(tmp_path, given):
    message = told(folder_of(tmp_path, model_type=given))
    assert "the model types known are" in message
    assert len(message) < len(str(tmp_path)) + 200


def test_code_that_a_checkpoint_brings_along_never_runs(tmp_path):
    folder, canary = udlm_folder(tmp_path / "udlm"), tmp_path / "canary"
    config = json.loads((folder / "config.json").read_text())
    remote = {"AutoModelForMaskedLM": "modeling_udlm.UDLM", "AutoConfig": "modeling_udlm.UDLMConfig"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": remote}))
    (folder / "modeling_udlm.py").write_text(f"open({str(canary)!r}, 'w')")
    assert load_model(folder).info.family == "udlm"
    assert not canary.exists()


def test_a_native_checkpoint_has_its_own_tokenizer():
    message = told(EXAMPLES / "memorizing", tokenizer=EXAMPLES / "memorizing" / "tokenizer.json")
    assert "leave out --tokenizer" in message


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_of_a_folder_is_not_the_folder(file):
    assert "not a checkpoint folder; give the folder that holds it" in told(ORACLES / "udlm" / file)


def test_a_file_is_read_as_a_lightning_checkpoint():
    assert load_model(ORACLES / "duo" / "lm1b-oracle.ckpt", "raw").info.weights == "raw"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("kuleshov-group/udlm-lm1b", HubName("kuleshov-group/udlm-lm1b")),
        ("s-sahoo/duo@v1.0", HubName("s-sahoo/duo", "v1.0")),
        ("hf://s-sahoo/duo", HubName("s-sahoo/duo", explicit=True)),
        ("hf:/s-sahoo/duo", HubName("s-sahoo/duo", explicit=True)),
        ("hf://a/b/tiny/lm1b-tiny-0.01.ckpt", HubName("a/b", None, "tiny/lm1b-tiny-0.01.ckpt", True)),
        ("hf://a/b@abc/tiny", HubName("a/b", "abc", "tiny", True)),
        ("udlm-lm1b", None),
        ("a/b/c", None),
        ("/a/b", None),
        ("./a", None),
        ("../a", None),
        ("models/tiny.ckpt", None),
        ("hf://a", None),
        ("hf://a/b/../../c", None),
        ("hf://a/b/..", None),
        ("a/b\n", None),
        ("a/b c", None),
        ("https://huggingface.co/a/b", None),
    ],
)
def test_what_is_a_name_on_the_hub(text, name):
    assert hub_name(text) == name


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub whose every repository is a folder; `hub.calls` are what was asked of it."""

    class Hub:
        calls: list = []  # noqa: RUF012 - one hub a test
        snapshot = udlm_folder(tmp_path / "models--a--b" / "snapshots" / ("0123456789abcdef" * 2))

        def snapshot_download(self, repo_id, *, revision, allow_patterns):
            self.calls.append((repo_id, revision, list(allow_patterns)))
            return str(self.snapshot)

    made = Hub()
    made.calls = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    return made


def test_a_name_is_fetched_and_named_with_its_commit(hub):
    model = load_model("kuleshov-group/udlm-lm1b")
    assert model.info.name == "kuleshov-group/udlm-lm1b@0123456789ab"
    assert model.tokenizer is not None
    (first, *_), (repository, revision, files) = hub.calls
    assert first == repository == "kuleshov-group/udlm-lm1b"
    assert revision is None
    assert hub.calls[0][2] == list(CONFIG)
    assert {"model.safetensors", "model.safetensors.index.json", "tokenizer.json", "vocab.txt"} <= set(files)
    assert not [file for file in files if file.endswith((".py", ".bin", ".pt", ".pth", ".ckpt", "*"))]


def test_a_folder_of_a_repository_is_fetched_alone(hub):
    inside = hub.snapshot / "tiny"
    (hub.snapshot / "config.json").unlink()
    udlm_folder(inside)
    assert load_model("hf://a/b@main/tiny").info.name == "a/b@0123456789ab/tiny"
    assert all(pattern.startswith("tiny/") for _, _, patterns in hub.calls for pattern in patterns)


def test_a_file_of_a_repository_is_fetched_alone(hub):
    shutil.copy(ORACLES / "duo" / "lm1b-oracle.ckpt", hub.snapshot)
    assert load_model("hf://a/b/lm1b-oracle.ckpt").info.family == "duo"
    assert hub.calls == [("a/b", None, ["lm1b-oracle.ckpt"])]
    assert "the repository has no such file" in told("hf://a/b/other.ckpt")


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"model_type": "llada"}, "LLaDA is a masked diffusion model"),
        (
            {"model_type": "gidd", "noise_type": -1000.0, "min_log_snr": -9.0, "max_log_snr": 9.0},
            "GIDD with noise_type",
        ),
        ({"model_type": "llama"}, "model_type is 'llama'"),
    ],
)
def test_weights_that_are_not_audited_are_not_fetched(hub, config, what):
    (hub.snapshot / "config.json").write_text(json.dumps(config))
    assert what in told("a/b")
    assert [files for _, _, files in hub.calls] == [list(CONFIG)]


def answered(kind):
    """An error that the library makes of a response, whichever HTTP client the response is of."""
    error = kind.__new__(kind)
    error.args = ("no\nhow",)
    return error


FAILURES = {
    "offline": (errors.LocalEntryNotFoundError("no"), "the hub cannot be reached (offline?)"),
    "offline mode": (errors.OfflineModeIsEnabled("no"), "the hub cannot be reached (offline?)"),
    "no route": (ConnectionError("no"), "the hub cannot be reached (offline?)"),
    "gated": (answered(errors.GatedRepoError), "a gated repository: ask for access at https://huggingface.co/a/b"),
    "missing": (answered(errors.RepositoryNotFoundError), "no such repository on the hub"),
    "no revision": (answered(errors.RevisionNotFoundError), "the repository has no revision v9"),
    "no file": (answered(errors.RemoteEntryNotFoundError), "the repository has no such file"),
    "other": (answered(errors.HfHubHTTPError), "the hub refused (HfHubHTTPError)"),
    "disk": (OSError(28, "No space left"), "not fetched (OSError: [Errno 28] No space left)"),
    "client": (type("ReadTimeout", (Exception,), {})(), "not fetched (ReadTimeout)"),
    "odd": (errors.HFValidationError("no"), "no name that the hub can have"),
}


@pytest.mark.parametrize(("failure", "what"), FAILURES.values(), ids=FAILURES)
def test_what_the_hub_does_not_give_is_one_sentence(hub, monkeypatch, failure, what):
    def fail(*args, **options):
        raise failure

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    assert f"a/b@v9: no such folder here, and as a name on the hub: {what}" in told("a/b@v9")
    assert told("hf://a/b@v9/x.ckpt").startswith(f"a/b@v9/x.ckpt: {what}")


def test_a_mistyped_path_is_not_a_name(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for path in ("models/tiny", "nothing", "a/b.ckpt", tmp_path / "nothing"):
        assert "no such file or folder" in told(path)
    assert hub.calls == []


def test_a_folder_of_that_name_comes_first(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    udlm_folder(tmp_path / "a" / "b")
    assert load_model("a/b").info.name == "a/b"
    assert hub.calls == []


def test_a_name_keeps_its_revision_outside_of_a_cache():
    assert shown_name(HubName("a/b", "v1"), Path("/somewhere")) == "a/b@v1"
