from pathlib import Path

import pytest
import torch

from audit_cli.checkpoints import load_model
from audit_cli.redaction import Redaction, ShowText

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="session")
def memorizing():
    return load_model(EXAMPLES / "memorizing")


@pytest.fixture(scope="session")
def generalizing():
    return load_model(EXAMPLES / "generalizing")


@pytest.fixture(scope="session")
def redaction():
    return Redaction(ShowText.FINGERPRINT, b"a key for tests")


@pytest.fixture(autouse=True)
def _own_key(monkeypatch, tmp_path):
    """A test never touches the user's key file, nor what is remembered of models."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("UDDM_AUDIT_KEY", raising=False)


@pytest.fixture(autouse=True)
def _grad_stays_on():
    yield
    assert torch.is_grad_enabled()
