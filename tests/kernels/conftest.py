import importlib.util
import os

import pytest


@pytest.fixture(scope="session")
def triton_installed():
    """Skips where Triton (1 GB, an extra) is not installed, and fails there under CI, which installs it."""
    if importlib.util.find_spec("triton") is None:
        if os.environ.get("CI"):
            pytest.fail("CI tests the fused kernels: install the extra `triton`")
        pytest.skip("needs the extra `triton`")
